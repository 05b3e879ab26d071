import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { cutRange, type Index } from "./arrows";
import { draw, highlight } from "./draw";
import type { Theme } from "./kinds";
import { AXIS, distance, layout, time, type Layout } from "./layout";
import { pan, within, zoom, type Range } from "./scale";

interface Props {
  index: Index;
  hidden: ReadonlySet<number>;
  theme: Theme;
  range: Range;
  setRange: (change: (r: Range) => Range) => void;
  hovered: number | undefined;
  selected: number | undefined;
  hover: (packet: number | undefined, at: { x: number; y: number }) => void;
  select: (packet: number | undefined) => void;
}

const REACH = 6; // CSS pixels from the pointer to a packet
const STILL = 150; // milliseconds without a movement, after which all is drawn
const CLICK = 4; // and those that a click may move

// Chart is the diagram, and what the pointer and the keyboard do to it.
export function Chart(p: Props) {
  const { index, hidden, theme, range, setRange } = p;
  const box = useRef<HTMLDivElement>(null);
  const base = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const drawn = useRef(range);
  const [size, setSize] = useState({ width: 0, room: 0 });
  const l = layout(size.width, index.diagram.members.length, size.room, range);

  useLayoutEffect(() => {
    const measure = () => setSize({ width: box.current!.clientWidth, room: window.innerHeight - 190 });
    const observer = new ResizeObserver(measure);
    observer.observe(box.current!);
    window.addEventListener("resize", measure);
    return () => {
      observer.disconnect();
      window.removeEventListener("resize", measure);
    };
  }, []);

  useLayoutEffect(() => {
    if (l.width === 0) return;
    const moving = drawn.current !== range;
    drawn.current = range;
    const paint = (sketch: boolean) => draw(fit(base.current!, l), l, index, hidden, theme, sketch);
    if (!paint(moving)) return;
    const timer = setTimeout(() => paint(false), STILL);
    return () => clearTimeout(timer);
  }, [index, hidden, theme, range, size]);

  useLayoutEffect(() => {
    if (l.width === 0) return;
    const c = fit(over.current!, l);
    for (const i of new Set([p.selected, p.hovered])) {
      if (i !== undefined && visible(index, hidden, i)) highlight(c, l, index, i, theme);
    }
  }, [index, hidden, theme, range, size, p.hovered, p.selected]);

  const pointers = useRef(new Map<number, { x: number; y: number }>());
  const moved = useRef(0);
  const place = (e: { clientX: number; clientY: number }) => {
    const r = over.current!.getBoundingClientRect();
    return { x: e.clientX - r.left, y: e.clientY - r.top };
  };
  const perPixel = (r: Range) => (r.to - r.from) / (l.width - l.left);

  const down = (e: PointerEvent) => {
    over.current!.setPointerCapture(e.pointerId);
    if (pointers.current.size === 0) moved.current = 0;
    pointers.current.set(e.pointerId, place(e));
  };
  const move = (e: PointerEvent) => {
    const now = place(e);
    const was = pointers.current.get(e.pointerId);
    if (was === undefined) return p.hover(nearest(index, hidden, l, now.x, now.y), now);
    moved.current += Math.hypot(now.x - was.x, now.y - was.y);
    const other = [...pointers.current].find(([id]) => id !== e.pointerId)?.[1];
    pointers.current.set(e.pointerId, now);
    if (other === undefined) return setRange((r) => pan(r, index.all, (was.x - now.x) * perPixel(r)));
    const apart = (q: { x: number }) => Math.max(Math.abs(q.x - other.x), 10);
    setRange((r) => zoom(r, index.all, time({ ...l, range: r }, (now.x + other.x) / 2), apart(now) / apart(was)));
  };
  const up = (e: PointerEvent) => {
    if (!pointers.current.delete(e.pointerId) || pointers.current.size > 0) return;
    if (e.type === "pointerup" && moved.current < CLICK) p.select(nearest(index, hidden, l, place(e).x, place(e).y));
  };

  // Not by a property, because such a listener may not keep the page from scrolling.
  const wheel = useCallback(
    (e: WheelEvent) => {
      e.preventDefault();
      const pixels = e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      const at = Math.max(place(e).x, l.left);
      if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
        return setRange((r) => pan(r, index.all, (e.deltaX || e.deltaY) * pixels * perPixel(r)));
      }
      setRange((r) => zoom(r, index.all, time({ ...l, range: r }, at), Math.exp(-e.deltaY * pixels * 0.002)));
    },
    [index, l.width, l.left],
  );
  useEffect(() => {
    const canvas = over.current!;
    canvas.addEventListener("wheel", wheel, { passive: false });
    return () => canvas.removeEventListener("wheel", wheel);
  }, [wheel]);

  const key = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const by = (part: number) => setRange((r) => pan(r, index.all, (r.to - r.from) * part));
    const middle = (r: Range) => (r.from + r.to) / 2;
    const walk = (step: 1 | -1) => {
      const next = index.next(p.selected, range.from, step, (i) => visible(index, hidden, i));
      if (next === undefined) return;
      p.select(next);
      setRange((r) => revealed(r, index, next));
    };
    const actions: Record<string, () => void> = {
      ArrowLeft: () => by(-0.1),
      ArrowRight: () => by(0.1),
      "+": () => setRange((r) => zoom(r, index.all, middle(r), 1.5)),
      "=": () => setRange((r) => zoom(r, index.all, middle(r), 1.5)),
      "-": () => setRange((r) => zoom(r, index.all, middle(r), 1 / 1.5)),
      "0": () => setRange(() => index.all),
      c: () => setRange(() => cutRange(index)),
      n: () => walk(1),
      p: () => walk(-1),
      Escape: () => p.select(undefined),
    };
    const act = actions[e.key];
    if (act === undefined) return;
    e.preventDefault();
    act();
  };

  return (
    <div class="chart" ref={box}>
      <canvas class="base" ref={base} aria-hidden="true" />
      <canvas
        class="over"
        ref={over}
        tabIndex={0}
        role="application"
        aria-label="Space-time diagram"
        aria-describedby="keys"
        onPointerDown={down}
        onPointerMove={move}
        onPointerUp={up}
        onPointerCancel={up}
        onPointerLeave={(e: PointerEvent) => p.hover(undefined, place(e))}
        onDblClick={() => setRange(() => index.all)}
        onKeyDown={key}
      />
    </div>
  );
}

// fit sizes a canvas to the layout in the screen's own pixels, which empties it.
function fit(canvas: HTMLCanvasElement, l: Layout): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(l.width * ratio);
  canvas.height = Math.round(l.height * ratio);
  canvas.style.height = `${l.height}px`;
  const c = canvas.getContext("2d")!;
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  return c;
}

function visible(index: Index, hidden: ReadonlySet<number>, i: number): boolean {
  return !hidden.has(index.diagram.packets.class[i]!);
}

// nearest is the packet within reach of a point; of several the one that says most.
function nearest(index: Index, hidden: ReadonlySet<number>, l: Layout, px: number, py: number): number | undefined {
  if (px < l.left || py < AXIS) return undefined;
  let best: number | undefined;
  let least = Infinity;
  index.touching({ from: time(l, px - REACH), to: time(l, px + REACH) }, (i) => {
    const far = distance(l, index.lines[i]!, px, py);
    if (far > REACH || !visible(index, hidden, i)) return;
    const cost = far - index.kinds[index.diagram.packets.class[i]!]!.rank;
    if (cost < least) [best, least] = [i, cost];
  });
  return best;
}

// revealed moves a range, and widens it if it has to, until a packet is in it.
function revealed(r: Range, index: Index, i: number): Range {
  const { t0, t1 } = index.lines[i]!;
  const [from, to] = [Math.min(t0, t1), Math.max(t0, t1)];
  if (from >= r.from && to <= r.to) return r;
  const half = Math.max(r.to - r.from, (to - from) * 1.5) / 2;
  const middle = (from + to) / 2;
  return within({ from: middle - half, to: middle + half }, index.all);
}
