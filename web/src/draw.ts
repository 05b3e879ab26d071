import type { Index, Line } from "./arrows";
import { cutPoint, UNSEEN, zero, type Lane } from "./diagram";
import { COLOURS, type Kind, type Theme } from "./kinds";
import { AXIS, x, y, type Layout } from "./layout";
import { duration, ticks } from "./scale";

type Context = CanvasRenderingContext2D;

const FONT = "system-ui, sans-serif";
// Above as many arrows in view, the common ones lose their heads and fade.
const CROWD = 1500;
// A path of more lines than that is slow to stroke: its crossings are resolved
// all at once.
const BATCH = 200;
// As many common arrows are enough while the picture moves.
const SKETCH = 5000;

// draw paints everything but what the pointer is at. A sketch may leave common
// arrows out, always the same ones; draw reports whether it has.
export function draw(c: Context, l: Layout, index: Index, hidden: ReadonlySet<number>, theme: Theme, sketch: boolean): boolean {
  const colour = COLOURS[theme];
  c.fillStyle = colour.page;
  c.fillRect(0, 0, l.width, l.height);
  axis(c, l, index, theme);
  c.save();
  c.beginPath();
  c.rect(l.left, AXIS, l.width - l.left, l.height - AXIS);
  c.clip();
  band(c, l, index.diagram.members, theme);
  index.diagram.members.forEach((_, i) => lane(c, l, i, theme));
  const groups = inView(l, index, hidden);
  const every = sketch ? Math.ceil(groups.count / SKETCH) : 1;
  const pauses = () => index.diagram.members.forEach((m, i) => pause(c, l, m, i, theme));
  const crowd = groups.count > CROWD; // which would hide them
  if (!crowd) pauses();
  arrows(c, l, index, groups, theme, false, every);
  if (crowd) pauses();
  arrows(c, l, index, groups, theme, true, 1);
  cut(c, l, index.diagram.members, theme);
  c.restore();
  index.diagram.members.forEach((m, i) => label(c, l, m, i, theme));
  return every > 1;
}

function axis(c: Context, l: Layout, index: Index, theme: Theme): void {
  const colour = COLOURS[theme];
  const t = ticks(l.range, zero(index.diagram), (l.width - l.left) / 90);
  c.font = `12px ${FONT}`;
  c.textBaseline = "middle";
  c.textAlign = "center";
  c.lineWidth = 1;
  c.strokeStyle = colour.line;
  c.beginPath();
  for (const { at, label } of t.each) {
    const px = Math.round(x(l, at)) + 0.5;
    c.moveTo(px, AXIS - 6);
    c.lineTo(px, l.height);
    const half = c.measureText(label).width / 2;
    if (px - half < l.left || px + half > l.width) continue;
    c.fillStyle = colour.faint;
    c.fillText(label, px, AXIS / 2 - 2);
  }
  c.stroke();
  c.textAlign = "right";
  c.fillStyle = colour.faint;
  c.fillText(l.left < 120 ? t.unit : `${t.unit} from the first cut`, l.left - 14, AXIS / 2 - 2, l.left - 18);
}

// band is where the cut lies on all lanes.
function band(c: Context, l: Layout, members: Lane[], theme: Theme): void {
  c.fillStyle = COLOURS[theme].band;
  for (const run of runs(members, (m) => m.cut_began !== UNSEEN && m.cut_ended !== UNSEEN)) {
    c.beginPath();
    for (const i of run) c.lineTo(x(l, members[i]!.cut_began), y(l, i));
    for (const i of run.reverse()) c.lineTo(x(l, members[i]!.cut_ended), y(l, i));
    c.fill();
  }
}

// runs are the lanes next to each other for which something holds.
function runs(members: Lane[], holds: (m: Lane) => boolean): number[][] {
  const all: number[][] = [[]];
  members.forEach((m, i) => {
    if (holds(m)) all[all.length - 1]!.push(i);
    else all.push([]);
  });
  return all.filter((run) => run.length > 0);
}

function lane(c: Context, l: Layout, i: number, theme: Theme): void {
  const at = Math.round(y(l, i)) + 0.5;
  c.strokeStyle = COLOURS[theme].lane;
  c.lineWidth = 1;
  c.beginPath();
  c.moveTo(l.left, at);
  c.lineTo(l.width, at);
  c.stroke();
}

// pause draws when the machine stood still, and how far its lane may be from
// where it is drawn, beside the other lanes.
function pause(c: Context, l: Layout, m: Lane, i: number, theme: Theme): void {
  const colour = COLOURS[theme];
  const at = Math.round(y(l, i)) + 0.5;
  const bar = (from: number, to: number, thick: number, fill: string) => {
    if (from === UNSEEN || to === UNSEEN) return;
    c.fillStyle = fill;
    const left = x(l, from);
    c.fillRect(left, at - thick / 2, Math.max(x(l, to) - left, 1.5), thick);
  };
  bar(m.paused, m.resumed, 9, colour.pause);
  const point = cutPoint(m);
  if (point !== undefined && m.error_ns > 0) bar(point - m.error_ns, point + m.error_ns, 20, colour.band);
}

// Groups are the arrows in view by class, and how many they are.
interface Groups {
  of: number[][];
  count: number;
}

function inView(l: Layout, index: Index, hidden: ReadonlySet<number>): Groups {
  const classes = index.diagram.packets.class;
  const groups: Groups = { of: index.kinds.map(() => []), count: 0 };
  index.touching(l.range, (i) => {
    const k = classes[i]!;
    if (hidden.has(k)) return;
    groups.of[k]!.push(i);
    groups.count++;
  });
  return groups;
}

// arrows draws those that cross the cut, or the common ones, of which it
// takes one in so many.
function arrows(c: Context, l: Layout, index: Index, groups: Groups, theme: Theme, crossing: boolean, every: number): void {
  const crowd = groups.count > CROWD;
  for (const k of index.order) {
    const kind = index.kinds[k]!;
    if (kind.crossing !== crossing || groups.of[k]!.length === 0) continue;
    const some = every > 1 ? groups.of[k]!.filter((i) => i % every === 0) : groups.of[k]!;
    // A crowd is as dark in sum as a few are.
    c.globalAlpha = crossing || !crowd ? 1 : Math.min(Math.max(0.18, Math.sqrt(CROWD / groups.count) * 0.7) * Math.sqrt(every), 1);
    style(c, kind, theme, 1, some.length <= CROWD);
    strokes(c, l, index.lines, some);
    if (!crowd || (crossing && some.length <= CROWD)) ends(c, l, index.lines, some, kind, 1);
  }
  c.globalAlpha = 1;
  c.setLineDash([]);
}

function style(c: Context, kind: Kind, theme: Theme, scale: number, dashed: boolean): void {
  c.strokeStyle = c.fillStyle = kind.colour[theme];
  c.lineWidth = kind.width * scale;
  c.setLineDash(dashed ? kind.dash : []);
}

function strokes(c: Context, l: Layout, lines: Line[], some: number[]): void {
  for (let n = 0; n < some.length; n += BATCH) {
    c.beginPath();
    for (const i of some.slice(n, n + BATCH)) {
      const a = lines[i]!;
      c.moveTo(x(l, a.t0), y(l, a.lane0));
      c.lineTo(x(l, a.t1), y(l, a.lane1));
    }
    c.stroke();
  }
}

// ends draws what shows an arrow's direction and fate.
function ends(c: Context, l: Layout, lines: Line[], some: number[], kind: Kind, scale: number): void {
  const size = (4 + 1.5 * kind.width) * scale;
  c.setLineDash([]);
  c.beginPath();
  for (const i of some) {
    const a = lines[i]!;
    const [px, py] = [x(l, a.t1), y(l, a.lane1)];
    const angle = Math.atan2(py - y(l, a.lane0), px - x(l, a.t0));
    const [dx, dy] = [Math.cos(angle) * size, Math.sin(angle) * size];
    if (a.stub === "sent" || kind.end === "cross") {
      const h = size / 2;
      c.moveTo(px - h, py - h);
      c.lineTo(px + h, py + h);
      c.moveTo(px - h, py + h);
      c.lineTo(px + h, py - h);
    } else if (kind.end === "bar") {
      c.moveTo(px - dy - dx / 2, py + dx - dy / 2);
      c.lineTo(px + dy - dx / 2, py - dx - dy / 2);
    } else {
      c.moveTo(px, py);
      c.lineTo(px - dx - dy * 0.45, py - dy + dx * 0.45);
      c.lineTo(px - dx + dy * 0.45, py - dy - dx * 0.45);
      c.closePath();
    }
  }
  c.stroke();
  if (kind.end === "head") c.fill();
}

// cut joins the lanes' cut points.
function cut(c: Context, l: Layout, members: Lane[], theme: Theme): void {
  const colour = COLOURS[theme];
  const point = (i: number) => x(l, cutPoint(members[i]!)!);
  c.lineJoin = "round";
  for (const run of runs(members, (m) => cutPoint(m) !== undefined)) {
    c.beginPath();
    for (const i of run) c.lineTo(point(i), y(l, i));
    c.strokeStyle = colour.page;
    c.lineWidth = 6;
    c.stroke();
    c.strokeStyle = c.fillStyle = colour.cut;
    c.lineWidth = 2.5;
    c.stroke();
    c.strokeStyle = colour.page;
    c.lineWidth = 1.5;
    for (const i of run) {
      c.beginPath();
      c.arc(point(i), y(l, i), 4.5, 0, 2 * Math.PI);
      c.fill();
      c.stroke();
    }
  }
}

function label(c: Context, l: Layout, m: Lane, i: number, theme: Theme): void {
  const colour = COLOURS[theme];
  const room = l.left - 26;
  const at = y(l, i);
  c.textAlign = "right";
  c.textBaseline = "middle";
  c.fillStyle = colour.text;
  c.font = `600 13px ${FONT}`;
  c.fillText(m.name, l.left - 14, at - 7, room);
  c.fillStyle = colour.faint;
  c.font = `11px ${FONT}`;
  c.fillText(`${m.host === m.name ? "" : `${m.host} `}${clockError(m, i)}`, l.left - 14, at + 9, room);
}

// clockError says how far a lane may be off, beside the first one.
export function clockError(m: Lane, i: number): string {
  if (i === 0) return "reference";
  return m.error_ns === UNSEEN ? "± unknown" : `±${duration(m.error_ns)}`;
}

// highlight draws one arrow over the others.
export function highlight(c: Context, l: Layout, index: Index, i: number, theme: Theme): void {
  const kind = index.kinds[index.diagram.packets.class[i]!]!;
  c.save();
  c.beginPath();
  c.rect(l.left, AXIS, l.width - l.left, l.height - AXIS);
  c.clip();
  c.lineCap = "round";
  c.strokeStyle = COLOURS[theme].page;
  c.lineWidth = kind.width * 1.5 + 6;
  strokes(c, l, index.lines, [i]);
  style(c, kind, theme, 1.5, true);
  c.lineWidth = kind.width * 1.5 + 1;
  strokes(c, l, index.lines, [i]);
  c.lineWidth = 1.5;
  ends(c, l, index.lines, [i], kind, 1.6);
  const a = index.lines[i]!;
  c.fillStyle = kind.colour[theme];
  c.beginPath();
  c.arc(x(l, a.t0), y(l, a.lane0), 4, 0, 2 * Math.PI);
  c.fill();
  c.restore();
}
