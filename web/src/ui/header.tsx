import { useEffect, useState, type ReactElement } from 'react'
import type { ConnectionState } from 'fanout-client'
import { ConnectionStatus } from 'fanout-client/react'
import { Icon } from './icon'
import { Tabs } from './tabs'

const WORDS: Record<ConnectionState, string> = { 'live': 'Live', 'catching-up': 'Catching up', 'polling': 'Polling', 'offline': 'Offline' }

type Theme = 'system' | 'light' | 'dark'

const THEMES: Theme[] = ['system', 'light', 'dark']
const THEME_KEY = 'fanout.theme'

export interface HeaderProps {
  tab: 'runs' | 'room'
  state: ConnectionState
  onTab(tab: 'runs' | 'room'): void
}

export function Header({ tab, state, onTab }: HeaderProps): ReactElement {
  return (
    <header className="header">
      <a className="brand" href="/"><img src="/icon.svg" width="24" height="24" alt="" />fanout</a>
      <Tabs label="View" selected={tab} onSelect={onTab} tabs={[{ id: 'runs', label: 'Runs' }, { id: 'room', label: 'Room' }]} panel="view" />
      <div className="header-end">
        <ConnectionStatus state={state} words={WORDS} className="badge" />
        <ThemeButton />
      </div>
    </header>
  )
}

function ThemeButton(): ReactElement {
  const [theme, setTheme] = useState<Theme>(() => (document.documentElement.dataset['theme'] as Theme | undefined) ?? 'system')
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!
  useEffect(() => {
    const root = document.documentElement
    if (theme === 'system') delete root.dataset['theme']
    else root.dataset['theme'] = theme
    try {
      if (theme === 'system') localStorage.removeItem(THEME_KEY)
      else localStorage.setItem(THEME_KEY, theme)
    } catch { /* Not allowed here: it lasts as long as the page. */ }
  }, [theme])
  return (
    <button type="button" className="icon-button" onClick={() => setTheme(next)} aria-label={`Theme: ${theme}. Switch to ${next}`} title={`Theme: ${theme}`}>
      <Icon name={theme === 'system' ? 'contrast' : theme === 'light' ? 'sun' : 'moon'} />
    </button>
  )
}
