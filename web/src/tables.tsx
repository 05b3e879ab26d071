import type { Index } from "./arrows";
import { packet, UNSEEN, zero, type Diagram } from "./diagram";
import { clockError } from "./draw";
import { kindOf, type Theme } from "./kinds";
import { duration, number } from "./scale";
import { Swatch } from "./swatch";

const LISTED = 200;

// Members is the diagram's lanes in words.
export function Members({ diagram }: { diagram: Diagram }) {
  const origin = zero(diagram);
  const at = (t: number) => (t === UNSEEN ? "not known" : duration(t - origin));
  const between = (from: number, to: number) => (from === UNSEEN || to === UNSEEN ? "none" : duration(to - from));
  return (
    <div class="table">
      <table id="members">
        <caption>Members. Times are from the first cut, on the first member's clock.</caption>
        <thead>
          <tr>
            <th scope="col">member</th>
            <th scope="col">host</th>
            <th scope="col">cut began</th>
            <th scope="col">cut ended</th>
            <th scope="col">paused at</th>
            <th scope="col">pause</th>
            <th scope="col">clock ahead by</th>
            <th scope="col">clock error</th>
            <th scope="col">records lost</th>
          </tr>
        </thead>
        <tbody>
          {diagram.members.map((m, i) => (
            <tr key={m.name}>
              <th scope="row">{m.name}</th>
              <td>{m.host || "not known"}</td>
              <td>{at(m.cut_began)}</td>
              <td>{at(m.cut_ended)}</td>
              <td>{at(m.paused)}</td>
              <td>{between(m.paused, m.resumed)}</td>
              <td>{i === 0 ? "reference" : duration(m.offset_ns)}</td>
              <td>{i === 0 ? "reference" : clockError(m, i)}</td>
              <td>{number(m.lost)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// Crossing lists the packets that the verdict is about.
export function Crossing({ index, theme, select }: { index: Index; theme: Theme; select: (i: number) => void }) {
  const d = index.diagram;
  const rank = (i: number) => index.kinds[d.packets.class[i]!]!.rank;
  const all = index.lines.map((_, i) => i).filter((i) => index.kinds[d.packets.class[i]!]!.crossing);
  all.sort((a, b) => rank(b) - rank(a) || a - b);
  if (all.length === 0) return <p>No packet crosses the cut.</p>;
  const origin = zero(d);
  const at = (t: number | undefined) => (t === undefined ? "not recorded" : duration(t - origin));
  return (
    <div class="table">
      <table id="crossing">
        <caption>
          Packets that cross the cut{all.length > LISTED ? `: ${number(LISTED)} of ${number(all.length)}` : ""}
        </caption>
        <thead>
          <tr>
            <th scope="col">class</th>
            <th scope="col">from</th>
            <th scope="col">sent</th>
            <th scope="col">to</th>
            <th scope="col">received or withheld</th>
            <th scope="col">flow</th>
            <th scope="col">bytes</th>
            <th scope="col">
              <span class="unseen">show</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {all.slice(0, LISTED).map((i) => {
            const p = packet(d, i);
            const kind = kindOf(p.class);
            return (
              <tr key={i}>
                <th scope="row">
                  <Swatch kind={kind} theme={theme} /> {kind.label}
                </th>
                <td>{p.from?.name ?? "not known"}</td>
                <td>{at(p.sent)}</td>
                <td>{p.to?.name ?? "not known"}</td>
                <td>{at(p.received)}</td>
                <td>{p.flow}</td>
                <td>{number(p.length)}</td>
                <td>
                  <button type="button" onClick={() => select(i)}>
                    show
                  </button>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
