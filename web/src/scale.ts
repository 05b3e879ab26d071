// A Range is the time that the diagram shows, in nanoseconds.
export interface Range {
  from: number;
  to: number;
}

const SHORTEST = 1_000; // a microsecond from edge to edge

const span = (r: Range) => r.to - r.from;

// within keeps a range inside the whole one, and no shorter than SHORTEST.
export function within(r: Range, all: Range): Range {
  const length = Math.min(Math.max(span(r), SHORTEST), span(all));
  const middle = (r.from + r.to) / 2;
  const from = Math.min(Math.max(middle - length / 2, all.from), all.to - length);
  return { from, to: from + length };
}

// zoom makes the range that much shorter around a time, which stays where it is.
export function zoom(r: Range, all: Range, at: number, factor: number): Range {
  const length = Math.min(Math.max(span(r) / factor, SHORTEST), span(all));
  const from = at - ((at - r.from) / span(r)) * length;
  return within({ from, to: from + length }, all);
}

export function pan(r: Range, all: Range, by: number): Range {
  return within({ from: r.from + by, to: r.to + by }, all);
}

export interface Ticks {
  step: number;
  unit: string;
  each: { at: number; label: string }[];
}

// ticks are round times, counted from zero, no nearer than every width/most.
export function ticks(r: Range, zero: number, most: number): Ticks {
  const rough = span(r) / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? 10 * power;
  const [unit, size] = step >= 1e9 ? ["s", 1e9] : step >= 1e5 ? ["ms", 1e6] : step >= 100 ? ["µs", 1e3] : ["ns", 1];
  const digits = Math.max(0, Math.ceil(-Math.log10(step / (size as number)) - 1e-9));
  const each = [];
  for (let n = Math.ceil((r.from - zero) / step); zero + n * step <= r.to; n++) {
    each.push({ at: zero + n * step, label: number((n * step) / (size as number), digits) });
  }
  return { step, unit: unit as string, each };
}

// number writes 1234.5 as 1,234.5, and a minus as one.
export function number(n: number, digits = 0): string {
  n ||= 0; // not -0
  return n.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace(/^-/, "−");
}

// duration writes nanoseconds in the unit that suits them.
export function duration(ns: number): string {
  const size = Math.abs(ns);
  if (size >= 1e9) return `${number(ns / 1e9, 3)} s`;
  if (size >= 1e6) return `${number(ns / 1e6, 3)} ms`;
  if (size >= 1e3) return `${number(ns / 1e3, size >= 1e5 ? 0 : 1)} µs`;
  return `${number(ns)} ns`;
}
