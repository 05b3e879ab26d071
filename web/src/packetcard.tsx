import { cutPoint, packet, UNSEEN, zero, type Diagram, type Lane } from "./diagram";
import { kindOf, type Theme } from "./kinds";
import { duration, number } from "./scale";
import { Swatch } from "./swatch";

// beside says when something happened, compared with the same member's own
// cut: this needs no second clock.
function beside(m: Lane | undefined, t: number): string {
  if (m === undefined || cutPoint(m) === undefined) return "";
  if (m.cut_began !== UNSEEN && t < m.cut_began) return `${duration(m.cut_began - t)} before its cut`;
  if (m.cut_ended !== UNSEEN && t >= m.cut_ended) return `${duration(t - m.cut_ended)} after its cut`;
  return "while it cut";
}

// PacketCard tells all that is known of one packet.
export function PacketCard({ diagram, i, theme }: { diagram: Diagram; i: number; theme: Theme }) {
  const p = packet(diagram, i);
  const kind = kindOf(p.class);
  const origin = zero(diagram);
  const end = (verb: string, m: Lane | undefined, t: number | undefined) => (
    <div>
      <dt>{verb}</dt>
      <dd>
        {m === undefined ? "by nobody known" : <b>{m.name}</b>}
        {t === undefined ? ", not recorded" : ` at ${duration(t - origin)}`}
        {t !== undefined && beside(m, t) !== "" && <small>{beside(m, t)}</small>}
      </dd>
    </div>
  );
  const tcp = p.flow.startsWith("tcp ");
  return (
    <>
      <p class="class">
        <Swatch kind={kind} theme={theme} /> <b>{kind.label}</b>
      </p>
      <p>{kind.meaning}</p>
      <dl>
        {end("sent", p.from, p.sent)}
        {end(p.class === "withheld" ? "withheld" : "received", p.to, p.received)}
        <div>
          <dt>flow</dt>
          <dd>{p.flow}</dd>
        </div>
        <div>
          <dt>{tcp ? "sequence" : "IP ID"}</dt>
          <dd>{tcp ? number(p.sequence) : p.sequence}</dd>
        </div>
        <div>
          <dt>payload</dt>
          <dd>
            {number(p.length)} bytes{p.marked ? ", marked as sent after the cut" : ""}
          </dd>
        </div>
      </dl>
    </>
  );
}

// sentence is a packet in words, for those who hear the page.
export function sentence(d: Diagram, i: number): string {
  const p = packet(d, i);
  const when = (m: Lane | undefined, t: number | undefined) =>
    `${m?.name ?? "nobody known"}${t === undefined ? ", not recorded" : `, ${beside(m, t) || `at ${duration(t - zero(d))}`}`}`;
  return `${kindOf(p.class).label}: ${p.flow}, ${number(p.length)} bytes, from ${when(p.from, p.sent)}; to ${when(p.to, p.received)}`;
}
