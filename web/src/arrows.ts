import { UNSEEN, type Diagram } from "./diagram";
import { kindOf, type Kind } from "./kinds";
import type { Range } from "./scale";

// A Line is an arrow's place: two times, each on a lane. Where an end is unseen
// it is a stub of no duration that leaves its lane towards the other, or down.
export interface Line {
  t0: number;
  lane0: number;
  t1: number;
  lane1: number;
  stub: "" | "sent" | "received";
}

// Index finds the arrows that a range of time touches.
export class Index {
  readonly kinds: Kind[];
  // The numbers of classes, in the order of drawing.
  readonly order: number[];
  readonly lines: Line[];
  readonly all: Range;
  private readonly byStart: number[];
  private readonly starts: Float64Array;
  // latest[n] is the latest end of the first n+1 arrows by start, so that no arrow
  // before the first n with latest[n] >= t reaches t.
  private readonly latest: Float64Array;

  constructor(readonly diagram: Diagram) {
    const d = diagram;
    this.kinds = d.classes.map(kindOf);
    this.order = d.classes.map((_, i) => i).sort((a, b) => this.kinds[a]!.rank - this.kinds[b]!.rank);
    this.lines = d.packets.from.map((_, i) => line(d, i));
    const start = (i: number) => Math.min(this.lines[i]!.t0, this.lines[i]!.t1);
    this.byStart = this.lines.map((_, i) => i).sort((a, b) => start(a) - start(b));
    this.starts = Float64Array.from(this.byStart, start);
    this.latest = new Float64Array(this.byStart.length);
    let latest = -Infinity;
    this.byStart.forEach((i, n) => {
      latest = Math.max(latest, this.lines[i]!.t0, this.lines[i]!.t1);
      this.latest[n] = latest;
    });
    this.all = whole(d, this.starts[0], latest);
  }

  // touching calls visit for each arrow that is somewhere in the range.
  touching(r: Range, visit: (i: number) => void): void {
    for (let n = first(this.latest, r.from); n < this.byStart.length && this.starts[n]! <= r.to; n++) {
      const i = this.byStart[n]!;
      const l = this.lines[i]!;
      if (Math.max(l.t0, l.t1) >= r.from) visit(i);
    }
  }

  // next is the nearest arrow after, or before, another one in the order of start.
  next(from: number | undefined, at: number, step: 1 | -1, visible: (i: number) => boolean): number | undefined {
    let n = from === undefined ? first(this.starts, at) - (step > 0 ? 1 : 0) : this.byStart.indexOf(from);
    for (n += step; n >= 0 && n < this.byStart.length; n += step) {
      if (visible(this.byStart[n]!)) return this.byStart[n]!;
    }
    return from;
  }
}

function line(d: Diagram, i: number): Line {
  const p = d.packets;
  const [from, to, sent, received] = [p.from[i]!, p.to[i]!, p.sent[i]!, p.received[i]!];
  if (sent !== UNSEEN && received !== UNSEEN) return { t0: sent, lane0: from, t1: received, lane1: to, stub: "" };
  const lane = sent !== UNSEEN ? from : to;
  const other = sent !== UNSEEN ? to : from;
  const away = lane + 0.3 * (other === UNSEEN || other > lane ? 1 : -1);
  return sent !== UNSEEN
    ? { t0: sent, lane0: from, t1: sent, lane1: away, stub: "sent" }
    : { t0: received, lane0: away, t1: received, lane1: to, stub: "received" };
}

// first is the first place in ascending values that is not below at.
function first(values: Float64Array, at: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

// whole is from the earliest to the latest of all times, with a margin.
function whole(d: Diagram, earliest: number | undefined, latest: number): Range {
  const times = d.members.flatMap((l) => [l.cut_began, l.cut_ended, l.paused, l.resumed]).filter((t) => t !== UNSEEN);
  if (earliest !== undefined) times.push(earliest, latest);
  if (times.length === 0) return { from: 0, to: 1e6 };
  return widened({ from: Math.min(...times), to: Math.max(...times) }, 0.02);
}

function widened(r: Range, by: number): Range {
  const margin = Math.max((r.to - r.from) * by, 10_000);
  return { from: r.from - margin, to: r.to + margin };
}

// cutRange is what the cut takes on all lanes, with the packets that cross it.
export function cutRange(x: Index): Range {
  const times = x.diagram.members.flatMap((l) => [l.cut_began, l.cut_ended, l.paused, l.resumed]).filter((t) => t !== UNSEEN);
  if (times.length === 0) return x.all;
  x.lines.forEach((l, i) => {
    if (x.kinds[x.diagram.packets.class[i]!]!.crossing && l.stub === "") times.push(l.t0, l.t1);
  });
  const r = widened({ from: Math.min(...times), to: Math.max(...times) }, 0.25);
  return { from: Math.max(r.from, x.all.from), to: Math.min(r.to, x.all.to) };
}
