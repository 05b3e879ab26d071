import type { Line } from "./arrows";
import type { Range } from "./scale";

// Layout is where things are on the canvas, in CSS pixels.
export interface Layout {
  width: number;
  height: number;
  left: number; // of the lanes; the labels are left of it
  top: number;
  lane: number; // from one lane to the next
  range: Range;
}

export const AXIS = 34;

export function layout(width: number, lanes: number, room: number, range: Range): Layout {
  const lane = Math.min(Math.max((room - AXIS) / Math.max(lanes, 1), 40), 150);
  return { width, height: AXIS + lane * lanes, left: width < 640 ? 108 : 168, top: AXIS + lane / 2, lane, range };
}

export const x = (l: Layout, t: number) => l.left + ((t - l.range.from) / (l.range.to - l.range.from)) * (l.width - l.left);
export const y = (l: Layout, lane: number) => l.top + lane * l.lane;
export const time = (l: Layout, px: number) => l.range.from + ((px - l.left) / (l.width - l.left)) * (l.range.to - l.range.from);

// distance is that of a point from an arrow.
export function distance(l: Layout, a: Line, px: number, py: number): number {
  const [x0, y0, x1, y1] = [x(l, a.t0), y(l, a.lane0), x(l, a.t1), y(l, a.lane1)];
  const [dx, dy] = [x1 - x0, y1 - y0];
  const square = dx * dx + dy * dy;
  const along = square === 0 ? 0 : Math.min(Math.max(((px - x0) * dx + (py - y0) * dy) / square, 0), 1);
  return Math.hypot(px - x0 - along * dx, py - y0 - along * dy);
}
