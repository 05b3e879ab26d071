import type { Index } from "./arrows";
import type { Theme } from "./kinds";
import { number } from "./scale";
import { Swatch } from "./swatch";

interface Props {
  index: Index;
  hidden: ReadonlySet<number>;
  theme: Theme;
  toggle: (k: number) => void;
}

// ORDER is that of a packet's fate, the good ones first.
const ORDER = ["before", "in-transit", "withheld", "after", "orphan", "unmatched", "lost"];

// Legend names the classes that there are, counts them, and shows or hides them.
// The orphans are always named: that there are none is what the page is for.
export function Legend({ index, hidden, theme, toggle }: Props) {
  const counts = index.kinds.map(() => 0);
  for (const k of index.diagram.packets.class) counts[k]!++;
  const place = (k: number) => (ORDER.indexOf(index.kinds[k]!.name) + ORDER.length) % ORDER.length;
  const shown = index.kinds
    .map((_, k) => k)
    .filter((k) => counts[k]! > 0 || index.kinds[k]!.name === "orphan")
    .sort((a, b) => place(a) - place(b));
  return (
    <fieldset class="legend">
      <legend>Packets</legend>
      {shown.map((k) => {
        const kind = index.kinds[k]!;
        return (
          <label key={k} title={kind.meaning} data-class={kind.name}>
            <input type="checkbox" checked={!hidden.has(k)} onChange={() => toggle(k)} />
            <Swatch kind={kind} theme={theme} />
            {kind.label} <b>{number(counts[k]!)}</b>
          </label>
        );
      })}
    </fieldset>
  );
}
