// Before the first paint, so that a chosen theme does not flash in: the page's own code comes too late.
try {
  const theme = localStorage.getItem('fanout.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
} catch { /* Storage is not allowed here: the system's theme it is. */ }
