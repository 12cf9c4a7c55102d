import type { ReactElement } from 'react'

const PATHS = {
  sun: 'M8 4.500a3.500 3.500 0 1 0 0 7a3.500 3.500 0 0 0 0-7M8 1v1.200M8 13.800V15M1 8h1.200M13.800 8H15M3.050 3.050l.85.85M12.100 12.100l.85.85M3.050 12.950l.85-.85M12.100 3.900l.85-.85',
  moon: 'M13.500 9.800A5.800 5.800 0 0 1 6.200 2.500a5.800 5.800 0 1 0 7.300 7.300z',
  play: 'M5 3.200v9.600l7.600-4.800z',
  down: 'M8 3v10M3.500 8.500 8 13l4.500-4.500',
  check: 'M3 8.500 6.500 12 13 4.500',
  cross: 'M4 4l8 8M12 4l-8 8',
  minus: 'M4 8h8',
  clock: 'M8 2a6 6 0 1 0 0 12a6 6 0 0 0 0-12M8 5v3l2 1.500',
  circle: 'M8 3.500a4.500 4.500 0 1 0 0 9a4.500 4.500 0 0 0 0-9',
  inbox: 'M2 9.500 4 3h8l2 6.500V13H2zM2 9.500h3.500L6.500 11h3l1-1.500H14'
} as const

export type IconName = keyof typeof PATHS | 'contrast'

/** 16 × 16, in the colour of the text. */
export function Icon({ name }: { name: IconName }): ReactElement {
  return (
    <svg className="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round">
      {name === 'contrast'
        ? <><circle cx="8" cy="8" r="6" /><path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" /></>
        : <path d={PATHS[name]} />}
    </svg>
  )
}
