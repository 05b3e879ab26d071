import { useCallback, useMemo, useState } from "preact/hooks";
import { cutRange, Index } from "./arrows";
import { Chart } from "./chart";
import type { Diagram } from "./diagram";
import { Legend } from "./legend";
import { PacketCard, sentence } from "./packetcard";
import { duration, number, within, zoom, type Range } from "./scale";
import { Crossing, Members } from "./tables";
import { useTheme, type Choice } from "./theme";

const SIGNS: Record<string, string> = { consistent: "✓", inconsistent: "✗", unproven: "?" };

export function App({ diagram, title }: { diagram: Diagram; title: string }) {
  const index = useMemo(() => new Index(diagram), [diagram]);
  const [choice, setChoice] = useState<Choice>("system");
  const theme = useTheme(choice);
  const [range, change] = useState<Range>(() => within(cutRange(index), index.all));
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const [selected, select] = useState<number | undefined>();
  const [hovered, setHovered] = useState<{ i: number; x: number; y: number } | undefined>();

  const setRange = useCallback((f: (r: Range) => Range) => {
    setHovered(undefined);
    change(f);
  }, []);
  const hover = useCallback((i: number | undefined, at: { x: number; y: number }) => {
    setHovered(i === undefined ? undefined : { i, ...at });
  }, []);
  const toggle = (k: number) => {
    const next = new Set(hidden);
    if (!next.delete(k)) next.add(k);
    setHidden(next);
  };
  const show = (i: number) => {
    const { t0, t1 } = index.lines[i]!;
    const around = Math.max(Math.abs(t1 - t0), 50_000) * 2;
    select(i);
    setHidden(new Set([...hidden].filter((k) => k !== diagram.packets.class[i])));
    setRange(() => within({ from: Math.min(t0, t1) - around, to: Math.max(t0, t1) + around }, index.all));
    document.querySelector<HTMLElement>("canvas.over")?.focus();
  };
  const middle = (r: Range) => (r.from + r.to) / 2;

  return (
    <>
      <header>
        <h1>{title}</h1>
        <p class="verdict" data-state={diagram.state}>
          <span class="sign" aria-hidden="true">
            {SIGNS[diagram.state] ?? "?"}
          </span>{" "}
          {diagram.verdict}
        </p>
      </header>
      <div class="bar">
        <Legend index={index} hidden={hidden} theme={theme} toggle={toggle} />
        <div class="tools">
          <button type="button" title="Zoom out (-)" aria-label="Zoom out" onClick={() => setRange((r) => zoom(r, index.all, middle(r), 1 / 1.5))}>
            −
          </button>
          <button type="button" title="Zoom in (+)" aria-label="Zoom in" onClick={() => setRange((r) => zoom(r, index.all, middle(r), 1.5))}>
            +
          </button>
          <button type="button" title="Show the cut (c)" onClick={() => setRange(() => cutRange(index))}>
            cut
          </button>
          <button type="button" title="Show everything (0, or double-click)" onClick={() => setRange(() => index.all)}>
            all
          </button>
          <select aria-label="Colours" value={choice} onChange={(e) => setChoice(e.currentTarget.value as Choice)}>
            <option value="system">system</option>
            <option value="light">light</option>
            <option value="dark">dark</option>
          </select>
        </div>
      </div>
      <div class="stage">
        <Chart index={index} theme={theme} {...{ hidden, range, setRange, hover, selected, select }} hovered={hovered?.i} />
        {hovered !== undefined && hovered.i !== selected && (
          <div class="card float" role="tooltip" style={beside(hovered)}>
            <PacketCard diagram={diagram} i={hovered.i} theme={theme} />
          </div>
        )}
      </div>
      <p class="status">
        <output id="span">{duration(range.to - range.from)}</output> shown.
        {diagram.left > 0 && ` ${number(diagram.left)} more packets are left out: those that are only before or only after the cut, far from it, or lost.`}
      </p>
      {selected !== undefined && (
        <section class="card pinned" aria-label="Selected packet">
          <button type="button" class="close" aria-label="Close" onClick={() => select(undefined)}>
            ×
          </button>
          <PacketCard diagram={diagram} i={selected} theme={theme} />
        </section>
      )}
      <p class="unseen" aria-live="polite" id="spoken">
        {selected === undefined ? "" : sentence(diagram, selected)}
      </p>
      <details>
        <summary>How to read it</summary>
        <ul>
          <li>Each line is a member, and time goes from left to right. An arrow is a packet on its way.</li>
          <li>The strong line joins the members' cuts: what is left of it is in the snapshot. A member's cut lies somewhere in the shaded band around it.</li>
          <li>The thick part of a line is the time in which the virtual machine stood still.</li>
          <li>
            The hosts' clocks are aligned by measured offsets. The tall faint mark at a cut, and ± beside the name, show how wrong that may be for the whole line;
            so an arrow can point back in time. The colours do not depend on it: each packet is compared with its own members' cuts only.
          </li>
        </ul>
        <p id="keys">
          Wheel or pinch to zoom, drag to move, click to keep a packet. With the diagram focused: + and − zoom, ← and → move, c shows the cut, 0 shows everything, n and p walk
          from packet to packet, Escape lets go.
        </p>
      </details>
      <details class="text" open={diagram.members.length <= 5}>
        <summary>As text</summary>
        <Members diagram={diagram} />
        <Crossing index={index} theme={theme} select={show} />
      </details>
    </>
  );
}

// beside is a place for the card that does not cover what it tells of.
function beside(at: { x: number; y: number }) {
  const width = 320;
  const left = at.x + width + 24 < document.documentElement.clientWidth ? at.x + 16 : Math.max(at.x - width - 16, 0);
  return { left: `${left}px`, top: `${at.y + 16}px` };
}
