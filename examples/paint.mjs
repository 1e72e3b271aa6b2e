// Repaint a photograph with a model folder, in Node:
//
//     node paint.mjs node|web MODEL PHOTO.png PAINTING.png RESULT.png [STEPS]
//
// The result is as large as the photograph; the painting may have another size.
import { readFileSync, writeFileSync } from "node:fs";
import { PNG } from "pngjs";
import { descend, objective, toData, toPlanes } from "./transfer.mjs";

const [runtime, model, photo, painting, result, steps = 60] = process.argv.slice(2);
if (!result) {
  console.error("usage: node paint.mjs node|web MODEL PHOTO.png PAINTING.png RESULT.png [STEPS]");
  process.exit(2);
}
const [content, style] = [photo, painting].map((path) => PNG.sync.read(readFileSync(path)));
const evaluate = await objective(await import(`./${runtime}.mjs`), model, content, style);
const planes = toPlanes(content);
for await (const loss of descend(evaluate, planes, steps)) console.log(loss);
const painted = new PNG({ width: content.width, height: content.height });
painted.data.set(toData(planes));
writeFileSync(result, PNG.sync.write(painted, { colorType: 2 })); // RGB
