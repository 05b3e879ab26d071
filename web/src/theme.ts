import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { COLOURS, type Theme } from "./kinds";

export type Choice = "system" | Theme;

// useTheme is the theme to draw with: what is chosen, what the system prefers,
// or light while the page is printed.
export function useTheme(choice: Choice): Theme {
  const dark = useMedia("(prefers-color-scheme: dark)");
  const print = useMedia("print");
  const theme = print ? "light" : choice !== "system" ? choice : dark ? "dark" : "light";
  useLayoutEffect(() => {
    const root = document.documentElement;
    root.style.colorScheme = theme;
    root.dataset["theme"] = theme;
    for (const [name, value] of Object.entries(COLOURS[theme])) root.style.setProperty(`--${name}`, value);
  }, [theme]);
  return theme;
}

function useMedia(query: string): boolean {
  const [matches, set] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const changed = () => set(media.matches);
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, [query]);
  return matches;
}
