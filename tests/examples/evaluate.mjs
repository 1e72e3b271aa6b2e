// Evaluates some pictures by the examples' objective. Standard input is a JSON object: runtime, model, lowering, and the
// pictures content, style and images, as transfer.mjs has them. Standard output is a list: loss and gradient of each.
import { readFileSync } from "node:fs";
import { objective, toPlanes } from "../../examples/transfer.mjs";

const { runtime, model, lowering, content, style, images } = JSON.parse(readFileSync(0));
const evaluate = await objective(await import(`../../examples/${runtime}.mjs`), model, content, style, lowering);
const found = [];
for (const image of images) {
  const { loss, gradient } = await evaluate(toPlanes(image));
  found.push({ loss, gradient: [...gradient] });
}
console.log(JSON.stringify(found));
