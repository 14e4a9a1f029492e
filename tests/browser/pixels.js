// Reads a picture in a page as a camera does, for jsQR.

/** Returns the pixels of an `img` element. Runs in the page. */
async function drawn(picture) {
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { data: [...data], width, height };
}

/** Returns the text of the QR code that an `img` element shows. */
exports.scanned = async (picture) => {
  const { data, width, height } = await picture.evaluate(drawn);
  return require("jsqr")(Uint8ClampedArray.from(data), width, height).data;
};
