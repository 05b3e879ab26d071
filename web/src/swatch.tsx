import type { Kind, Theme } from "./kinds";

// Swatch is a short arrow as the diagram draws it.
export function Swatch({ kind, theme }: { kind: Kind; theme: Theme }) {
  const colour = kind.colour[theme];
  const end = { head: "M21 2.5 28 6 21 9.5Z", bar: "M25 1V11", cross: "M20 2 28 10M20 10 28 2" }[kind.end];
  return (
    <svg class="swatch" viewBox="0 0 30 12" width="30" height="12" aria-hidden="true">
      <path d="M1 6H22" stroke={colour} stroke-width={kind.width + 0.5} stroke-dasharray={kind.dash.join(" ")} />
      <path d={end} stroke={colour} stroke-width={kind.end === "head" ? 1 : 2} fill={kind.end === "head" ? colour : "none"} />
    </svg>
  );
}
