"""What a terminal shows, with its colours: read from what tmux captures, and drawn as SVG."""

import dataclasses
import html
import re

# The sixteen colours on a dark background.
NAMED = {
    30: "#0b0e14", 31: "#f07178", 32: "#aad94c", 33: "#ffb454", 34: "#59c2ff", 35: "#d2a6ff", 36: "#95e6cb", 37: "#c7c7c7",
    90: "#7a8494", 91: "#f07178", 92: "#aad94c", 93: "#ffb454", 94: "#59c2ff", 95: "#d2a6ff", 96: "#95e6cb", 97: "#ffffff",
}
FOREGROUND, BACKGROUND = "#d6d9de", "#0f131a"
# Of a cell, in pixels.
WIDTH, HEIGHT, SIZE = 8.4, 18, 14


@dataclasses.dataclass(frozen=True)
class Style:
    colour: str | None = None
    bold: bool = False
    reverse: bool = False

    def then(self, code):
        if code == 0:
            return Style()
        if code == 1:
            return dataclasses.replace(self, bold=True)
        if code in (22, 2):
            return dataclasses.replace(self, bold=False)
        if code in (7, 27):
            return dataclasses.replace(self, reverse=code == 7)
        if code == 39:
            return dataclasses.replace(self, colour=None)
        if code in NAMED:
            return dataclasses.replace(self, colour=NAMED[code])
        return self


def parsed(text):
    """Lines of runs, each a style and its letters. Of the escape sequences only those of style are known."""
    style, lines = Style(), []
    for line in text.split("\n"):
        runs = []
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b["):
                codes = [int(code or 0) for code in part[2:-1].split(";")]
                # 38;5;N of the first sixteen.
                if codes[:2] == [38, 5] and len(codes) == 3 and codes[2] < 16:
                    number = codes[2]
                    codes = [30 + number if number < 8 else 82 + number]
                for code in codes:
                    style = style.then(code)
            elif part:
                runs.append((style, part))
        lines.append(runs)
    return lines


def svg(text, columns, title):
    """A picture of a screen of so many columns."""
    lines = parsed(text.rstrip("\n"))
    out = [*head(columns * WIDTH + 24, len(lines) * HEIGHT + 24, title), LETTERS]
    for row, runs in enumerate(lines):
        out += drawn(runs, 12, 12 + row * HEIGHT)
    return "\n".join([*out, "</g>", "</svg>", ""])


LETTERS = (
    '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" '
    f'font-size="{SIZE}" fill="{FOREGROUND}">'
)


def head(width, height, title):
    """How a picture begins: its size, what it shows, its ground."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
    ]


def drawn(runs, left, top):
    """One line of a screen, as elements."""
    out, column, y = [], 0, top + SIZE
    for style, letters in runs:
        x = left + column * WIDTH
        column += len(letters)
        if not letters.strip():
            continue
        colour = style.colour or FOREGROUND
        if style.reverse:
            out.append(f'<rect x="{x:.1f}" y="{y - SIZE:.1f}" width="{len(letters) * WIDTH:.1f}" height="{HEIGHT}" fill="{colour}"/>')
            colour = BACKGROUND
        weight = ' font-weight="bold"' if style.bold else ""
        fill = f' fill="{colour}"' if colour != FOREGROUND else ""
        length = f' textLength="{len(letters) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
        out.append(f'<text x="{x:.1f}" y="{y}" xml:space="preserve"{length}{fill}{weight}>{html.escape(letters)}</text>')
    return out
