// Prints the version that npm knows the project's by: node tools/version.js "$(git describe …)".
import { pathToFileURL } from "node:url";

/**
 * v1.2.3 is 1.2.3, and what comes after it an early 1.2.4: v1.2.3-4-gabc is
 * 1.2.4-dev.4.gabc. Without a tag abc is 0.0.0-dev.gabc.
 * @param {string} described by git
 */
export function semver(described) {
  const [, text, dirty] = /** @type {RegExpMatchArray} */ (described.match(/^(.*?)(-dirty)?$/));
  const tag = text.match(/^v?(\d+)\.(\d+)\.(\d+)(-(?!\d+-g)[0-9A-Za-z.]+)?(?:-(\d+)-(g[0-9a-f]+))?$/);
  const end = dirty ? "dirty" : "";
  if (!tag) return ["0.0.0-dev", /^[0-9a-f]{7,}$/.test(text) ? `g${text}` : "", end].filter(Boolean).join(".");
  const [, major, minor, patch, pre = "", commits, commit] = tag;
  if (!commits && !dirty) return `${major}.${minor}.${patch}${pre}`;
  const next = pre ? `${major}.${minor}.${patch}${pre}.dev` : `${major}.${minor}.${Number(patch) + 1}-dev`;
  return [next, commits, commit, end].filter(Boolean).join(".");
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) console.log(semver(process.argv[2] ?? ""));
