// Pictures and films as the server sends them. Stands before the scripts of several tabs and shares their scope.

const SIDE = 64;     // pixels of a picture

const bitmap = ({ image, mime = "image/png" }) =>
  createImageBitmap(new Blob([Uint8Array.from(atob(image), (c) => c.charCodeAt(0))], { type: mime }));

function crossFade(pen, { sheet, row, frames }, share) {   // what a film shows at a share of its way, 0 to 1
  const at = Math.min(1, Math.max(0, share)) * (frames - 1), left = Math.floor(at);
  for (const [frame, weight] of [[left, 1], [left + 1, at - left]]) {
    if (weight < 0.01) continue;
    pen.globalAlpha = weight;
    pen.drawImage(sheet, frame * SIDE, row * SIDE, SIDE, SIDE, 0, 0, SIDE, SIDE);
  }
  pen.globalAlpha = 1;
}
