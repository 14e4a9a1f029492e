type Rgb = [number, number, number];

/** The least contrast between text and its background (WCAG 2.2, 1.4.3). */
const CONTRAST = 4.5;
const LIGHT: Rgb = [255, 255, 255];
const DARK: Rgb = [32, 34, 40];

/**
 * Shows the operator's name and colour. Links get the nearest shade of the colour that can be read
 * on the background, so that no colour makes them illegible.
 */
export function brand({ name, color }: { name: string; color: string | null }): void {
  if (!document.title) document.title = name;
  const rgb = parse(color ?? "#b02a58");
  const style = document.documentElement.style;
  style.setProperty("--accent", css(rgb));
  style.setProperty("--on-accent", contrast(rgb, LIGHT) >= CONTRAST ? "#fff" : "#000");
  style.setProperty("--link", `light-dark(${css(toward(rgb, [0, 0, 0], LIGHT))}, ${css(toward(rgb, LIGHT, DARK))})`);
}

function toward(color: Rgb, end: Rgb, background: Rgb): Rgb {
  let shade = color;
  for (let part = 0; part <= 1 && contrast(shade, background) < CONTRAST; part += 0.05) {
    shade = color.map((value, i) => Math.round(value + (end[i]! - value) * part)) as Rgb;
  }
  return shade;
}

function parse(hex: string): Rgb {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as Rgb;
}

function css(rgb: Rgb): string {
  return `rgb(${rgb.join(" ")})`;
}

/** Returns the contrast ratio of two colours as WCAG defines it: 1 to 21. */
function contrast(a: Rgb, b: Rgb): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

function luminance(rgb: Rgb): number {
  const [r, g, b] = rgb.map((value) => {
    const part = value / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
