import { createHash } from "node:crypto";
import { defineConfig, type Plugin } from "vite";

const digest = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

// onePage puts the script and the style into the page, and forbids it all else:
// the policy names them by their digests, so that nothing in the data can run.
function onePage(): Plugin {
  return {
    name: "one-page",
    enforce: "post",
    generateBundle(_, bundle) {
      const page = bundle["index.html"];
      if (page?.type !== "asset") throw new Error("there is no index.html");
      let html = String(page.source);
      const digests = { script: "", style: "" };
      const inline = (kind: "script" | "style", tag: RegExp, text: string) => {
        text = text.trim();
        if (new RegExp(`</${kind}|<!--`, "i").test(text)) throw new Error(`the ${kind} would end its own element`);
        html = html.replace(tag, "");
        digests[kind] = digest(text);
        const element = `<${kind}>${text}</${kind}>\n`;
        // A function, because $ means something in a string.
        html = html.replace(kind === "script" ? "</body>" : "</head>", (end) => element + end);
      };
      for (const [name, file] of Object.entries(bundle)) {
        if (name === "index.html") continue;
        if (file.type === "chunk") inline("script", /<script[^>]* src=[^>]*><\/script>\s*/, file.code);
        else if (name.endsWith(".css")) inline("style", /<link rel="stylesheet"[^>]*>\s*/, String(file.source));
        else throw new Error(`${name}: the page has to be one file`);
        delete bundle[name];
      }
      const policy = `default-src 'none'; script-src ${digests.script}; style-src ${digests.style}; img-src data:; base-uri 'none'; form-action 'none'`;
      page.source = html.replace("@POLICY@", () => policy);
    },
  };
}

export default defineConfig({
  plugins: [onePage()],
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    reportCompressedSize: false,
    rollupOptions: { output: { format: "iife", inlineDynamicImports: true } },
  },
});
