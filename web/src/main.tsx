import { render } from "preact";
import { App } from "./app";
import { parse } from "./diagram";
import "./style.css";

const root = document.getElementById("app")!;
try {
  const diagram = parse(document.getElementById("data")!.textContent!);
  render(<App diagram={diagram} title={document.title} />, root);
} catch (error) {
  root.textContent = `The diagram cannot be drawn: ${error instanceof Error ? error.message : error}`;
  throw error;
}
