import type { ReactElement } from 'react'
import { count, latency, rate } from '../model/format'
import type { Figures } from '../model/figures'
import { Plot } from './plot'

export function Gateway({ figures }: { figures: Figures }): ReactElement {
  const { connections, users, delivered, dropped, p50, p99, series } = figures
  return (
    <section className={figures.answers ? 'card' : 'card stale'} aria-labelledby="gateway-title">
      <div className="card-head">
        <h2 id="gateway-title">Gateway</h2>
        <span className="hint">{figures.answers ? 'live, every second' : 'last known figures'}</span>
      </div>
      <dl className="numbers">
        <div><dt>Connections</dt><dd>{count(connections)}</dd></div>
        <div><dt>Users</dt><dd>{count(users)}</dd></div>
        <div><dt>Delivered</dt><dd>{count(delivered)}</dd></div>
        <div className={dropped ? 'alarm' : undefined}><dt>Dropped</dt><dd>{count(dropped)}</dd></div>
      </dl>
      <figure className="figure">
        <figcaption><span>Deliveries per second</span><b>{rate(figures.rate)}</b></figcaption>
        <Plot kind="rate" label="Deliveries per second over the last minute and a half" time={series.time} columns={[series.rate]} />
      </figure>
      <figure className="figure">
        <figcaption>
          <span>Publish to write</span>
          <span className="legend"><i className="key key-1" aria-hidden="true" />p50 <b>{latency(p50)}</b><i className="key key-2" aria-hidden="true" />p99 <b>{latency(p99)}</b></span>
        </figcaption>
        <Plot kind="latency" label="Latency, p50 and p99, over the last minute and a half" time={series.time} columns={[series.p50, series.p99]} />
      </figure>
    </section>
  )
}
