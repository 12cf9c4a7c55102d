import { useRef, type KeyboardEvent, type ReactElement } from 'react'

export interface TabsProps<T extends string> {
  label: string
  tabs: readonly { id: T; label: string }[]
  selected: T
  /** The id of the panel they change; there is one, whose content changes. */
  panel: string
  onSelect: (id: T) => void
  small?: boolean
}

export const tabId = (panel: string, id: string): string => `${panel}-tab-${id}`

/** ARIA tabs with automatic activation: arrows, Home and End move and select. */
export function Tabs<T extends string>({ label, tabs, selected, panel, onSelect, small }: TabsProps<T>): ReactElement {
  const list = useRef<HTMLDivElement>(null)
  const onKeyDown = (event: KeyboardEvent): void => {
    const at = tabs.findIndex(({ id }) => id === selected)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    const index = (to + tabs.length) % tabs.length
    onSelect(tabs[index]!.id)
    ;(list.current?.children[index] as HTMLElement | undefined)?.focus()
  }
  return (
    <div className={small ? 'tabs tabs-small' : 'tabs'} role="tablist" aria-label={label} ref={list} onKeyDown={onKeyDown} tabIndex={-1}>
      {tabs.map(({ id, label: text }) => (
        <button key={id} type="button" role="tab" id={tabId(panel, id)} aria-selected={id === selected} aria-controls={panel}
          tabIndex={id === selected ? 0 : -1} onClick={() => onSelect(id)}>{text}</button>
      ))}
    </div>
  )
}
