// What package evidence writes: see evidence.Diagram, whose JSON this is. Times are
// nanoseconds on the first member's clock.

export const UNSEEN = -1;
const VERSION = 1;

export interface Lane {
  name: string;
  host: string;
  offset_ns: number;
  error_ns: number;
  cut_began: number;
  cut_ended: number;
  paused: number;
  resumed: number;
  lost: number;
}

const COLUMNS = ["from", "to", "sent", "received", "class", "flow", "sequence", "length", "marked"] as const;

export type Arrows = Record<(typeof COLUMNS)[number], number[]>;

export interface Diagram {
  version: number;
  state: string;
  verdict: string;
  members: Lane[];
  classes: string[];
  flows: string[];
  packets: Arrows;
  left: number;
}

export function parse(text: string): Diagram {
  const d = JSON.parse(text) as Diagram;
  if (d.version !== VERSION) throw new Error(`the diagram's data are of version ${d.version}; this page reads ${VERSION}`);
  // Go writes null for a list that was never made.
  d.members ??= [];
  d.classes ??= [];
  d.flows ??= [];
  for (const column of COLUMNS) d.packets[column] ??= [];
  return d;
}

// A Packet is one arrow, with its members where they are known.
export interface Packet {
  index: number;
  from: Lane | undefined;
  to: Lane | undefined;
  sent: number | undefined;
  received: number | undefined;
  class: string;
  flow: string;
  sequence: number;
  length: number;
  marked: boolean;
}

const seen = (t: number | undefined) => (t === undefined || t === UNSEEN ? undefined : t);

export function packet(d: Diagram, i: number): Packet {
  const p = d.packets;
  return {
    index: i,
    from: d.members[p.from[i] ?? UNSEEN],
    to: d.members[p.to[i] ?? UNSEEN],
    sent: seen(p.sent[i]),
    received: seen(p.received[i]),
    class: d.classes[p.class[i] ?? UNSEEN] ?? "unknown",
    flow: d.flows[p.flow[i] ?? UNSEEN] ?? "",
    sequence: p.sequence[i] ?? 0,
    length: p.length[i] ?? 0,
    marked: p.marked[i] === 1,
  };
}

// cutPoint is where a lane meets the line of the cut: the middle of the time
// that its cut lies in.
export function cutPoint(l: Lane): number | undefined {
  const began = seen(l.cut_began);
  const ended = seen(l.cut_ended);
  if (began === undefined || ended === undefined) return began ?? ended;
  return (began + ended) / 2;
}

// zero is the time that the axis counts from: the first member's cut, or the
// earliest time of all where there is none.
export function zero(d: Diagram): number {
  const cuts = d.members.map((l) => l.cut_began).filter((t) => t !== UNSEEN);
  return cuts.length > 0 ? Math.min(...cuts) : 0;
}
