// Figures as people read them. Unknown ones are a dash.

const DASH = "–";
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const plain = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];

// As it is up to five digits, then in thousands and millions.
export function count(value) {
  if (value === null || value === undefined) return DASH;
  return Math.abs(value) < 100_000 ? plain.format(Math.round(value)) : compact.format(value);
}

export const exactly = (value) => plain.format(value);

// Below ten a rate has a digit behind the point: one message in five seconds is not none.
export function rate(value) {
  if (value === null || value === undefined) return DASH;
  return value > 0 && value < 10 ? short.format(Math.max(value, 0.01)) : count(value);
}

export function bytes(value) {
  if (value === null || value === undefined) return DASH;
  const step = value < 1 ? 0 : Math.min(BYTES.length - 1, Math.floor(Math.log2(value) / 10));
  return `${short.format(value / 1024 ** step)} ${BYTES[step]}`;
}

export function percent(share) {
  return share === null || share === undefined ? DASH : `${Math.round(share * 100)} %`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return DASH;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const s = Math.floor(ms / 1_000);
  if (s < 60) return `${short.format(ms / 1_000)} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3_600)} h`;
}

export function amount(value, unit) {
  return unit === "bytes" ? bytes(value) : count(value);
}
