// The classes of packets, as people see them. Colours are never alone: the
// crossing ones are also thicker, and ends differ.

export type Theme = "light" | "dark";

export interface Kind {
  name: string;
  label: string;
  meaning: string;
  // From the palette of Okabe and Ito, whose colours stay apart in every common
  // form of colour blindness; darkened on white to a contrast of 3:1 and more.
  colour: Record<Theme, string>;
  width: number;
  dash: number[];
  end: "head" | "bar" | "cross";
  // Later ones are drawn on top, and found first.
  rank: number;
  crossing: boolean;
}

export const KINDS: Kind[] = [
  { name: "before", label: "before", meaning: "sent and received before the cut", colour: { light: "#0072b2", dark: "#56b4e9" }, width: 1, dash: [], end: "head", rank: 1, crossing: false },
  { name: "in-transit", label: "in transit", meaning: "sent before the cut and received after it", colour: { light: "#b26a00", dark: "#f0a818" }, width: 2, dash: [], end: "head", rank: 5, crossing: true },
  { name: "withheld", label: "withheld", meaning: "sent after the cut and kept from a member that had not cut yet", colour: { light: "#00805c", dark: "#1fc796" }, width: 2, dash: [7, 3], end: "bar", rank: 4, crossing: true },
  { name: "after", label: "after", meaning: "sent after the cut and not received before it", colour: { light: "#a8558a", dark: "#d78fb8" }, width: 1, dash: [], end: "head", rank: 2, crossing: false },
  { name: "orphan", label: "orphan", meaning: "sent after the cut and received before it: the cut is not consistent", colour: { light: "#d00000", dark: "#ff6a4d" }, width: 3, dash: [], end: "head", rank: 6, crossing: true },
  { name: "unmatched", label: "unmatched", meaning: "received without a record of its sending", colour: { light: "#4d4d4d", dark: "#f0e442" }, width: 1.5, dash: [2, 3], end: "head", rank: 3, crossing: true },
  { name: "lost", label: "lost", meaning: "sent before the cut and received nowhere", colour: { light: "#7d7d7d", dark: "#9a9a9a" }, width: 1, dash: [4, 3], end: "cross", rank: 0, crossing: false },
];

const OTHER: Kind = { ...KINDS[6]!, label: "", meaning: "a class that this page does not know" };

export function kindOf(name: string): Kind {
  return KINDS.find((k) => k.name === name) ?? { ...OTHER, name, label: name };
}

// Colours of all that is no packet. The style sheet has them as --name.
export const COLOURS = {
  light: { page: "#ffffff", panel: "#f4f5f7", text: "#16191d", faint: "#5b636d", line: "#d5d9de", lane: "#8b939c", cut: "#16191d", band: "#16191d1f", pause: "#5b636d", focus: "#005fcc" },
  dark: { page: "#14171a", panel: "#1f2327", text: "#e9ecef", faint: "#a2abb4", line: "#343a40", lane: "#6c757d", cut: "#ffffff", band: "#ffffff2b", pause: "#a2abb4", focus: "#7ab8ff" },
} satisfies Record<Theme, Record<string, string>>;
