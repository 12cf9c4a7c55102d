import { useEffect, useRef, type ReactElement } from 'react'
import UPlot, { type AlignedData, type Options } from 'uplot'
import { clock, latency, rate } from '../model/format'

export interface PlotProps {
  kind: 'rate' | 'latency'
  label: string
  /** Seconds since 1970. */
  time: number[]
  columns: (number | null)[][]
}

const HEIGHT_PX = 112
const RATE_LEAST = 10
const LATENCY_LEAST_S = 1e-5

/** A plot that keeps its box: it is there before the first figure and does not move with them. */
export function Plot({ kind, label, time, columns }: PlotProps): ReactElement {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<UPlot>(undefined)
  const data = useRef<AlignedData>([time, ...columns])
  const quiet = columns.every((column) => column.every((value) => value === null || value === 0))

  useEffect(() => {
    data.current = [time, ...columns]
    plot.current?.setData(data.current)
  }, [time, columns])

  useEffect(() => {
    const element = box.current!
    const draw = (): void => {
      plot.current?.destroy()
      plot.current = new UPlot(options(kind, element), data.current, element)
    }
    draw()
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT_PX }))
    resized.observe(element)
    // The colours are the theme's: drawn anew with it.
    const themed = new MutationObserver(draw)
    themed.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    const system = matchMedia('(prefers-color-scheme: dark)')
    system.addEventListener('change', draw)
    return () => {
      resized.disconnect()
      themed.disconnect()
      system.removeEventListener('change', draw)
      plot.current?.destroy()
      plot.current = undefined
    }
  }, [kind])

  return (
    <div className="plot">
      <div ref={box} className="plot-box" role="img" aria-label={label} />
      {quiet && <p className="plot-quiet"><span>Nothing delivered in 90 s</span></p>}
    </div>
  )
}

/** One line a decade. */
function decades(_plot: UPlot, _axis: number, min: number, max: number): number[] {
  const [from, to] = [Math.ceil(Math.log10(min) - 1e-9), Math.floor(Math.log10(max) + 1e-9)]
  return Array.from({ length: Math.max(0, to - from) + 1 }, (_, i) => 10 ** (from + i))
}

function options(kind: PlotProps['kind'], element: HTMLElement): Options {
  const style = getComputedStyle(element)
  const color = (name: string): string => style.getPropertyValue(name).trim()
  const format = kind === 'rate' ? rate : latency
  const axis = {
    stroke: color('--muted'),
    font: `11px ${style.fontFamily}`,
    grid: { stroke: color('--line'), width: 1 },
    ticks: { show: false }
  }
  const line = (name: string, fill?: string): UPlot.Series => ({
    stroke: color(name), width: 1.5, points: { show: false }, ...(fill && { fill: color(fill) }), spanGaps: false
  })
  return {
    width: element.clientWidth,
    height: HEIGHT_PX,
    padding: [8, 4, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
      x: { time: true },
      y: kind === 'rate'
        ? { range: (_plot, _min, max) => [0, Math.max(RATE_LEAST, max * 1.1)] }
        : { distr: 3, range: (_plot, min, max) => [Math.min(LATENCY_LEAST_S, min || LATENCY_LEAST_S), Math.max(1e-2, max || 0)] }
    },
    axes: [
      { ...axis, grid: { show: false }, size: 22, space: 64, values: (_plot, ticks) => ticks.map((at) => clock(at * 1000, false)) },
      { ...axis, size: 52, ...(kind === 'latency' && { splits: decades }), space: 28, values: (_plot, ticks) => ticks.map((value) => value === null ? '' : format(value)) }
    ],
    series: [{}, ...(kind === 'rate' ? [line('--accent', '--accent-soft')] : [line('--accent'), line('--series-2')])]
  }
}
