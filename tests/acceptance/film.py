"""What several terminals have shown, one beside the other, drawn as a moving SVG.

Where nothing moves (a reader that asks for that, a printer) it shows the end."""

import dataclasses
import html

import screen

# Around a terminal, and between two of them, in pixels.
EDGE, GAP, NAME = 10, 14, 26
FRAME, NAMES, SOFT = "#2b3240", "#95e6cb", "#7a8494"
# How long the end is to be looked at before all begins anew.
END_S = 4.0


@dataclasses.dataclass
class Pane:
    """Where a terminal is drawn, and how large it is."""

    name: str
    left: int
    top: int
    columns: int
    rows: int

    def width(self):
        return self.columns * screen.WIDTH + 2 * EDGE

    def height(self):
        return self.rows * screen.HEIGHT + NAME + EDGE


@dataclasses.dataclass
class Frame:
    """At a time of the film, in seconds, the lines of each pane and the one that stands above all of them."""

    at_s: float
    head: list
    panes: list


def svg(panes, frames, title):
    """The whole film, of at least one frame. The head of a frame is a line above the panes."""
    length_s = frames[-1].at_s + END_S
    width = max(pane.left + pane.width() for pane in panes) + GAP
    height = max(pane.top + pane.height() for pane in panes) + GAP
    times = Times(length_s)
    body = []
    for pane in panes:
        body.append(
            f'<rect x="{pane.left}" y="{pane.top}" width="{pane.width():.1f}" height="{pane.height()}" rx="6" fill="none" stroke="{FRAME}"/>'
        )
        name = html.escape(pane.name)
        body.append(f'<text x="{pane.left + EDGE}" y="{pane.top + 18}" fill="{NAMES}" font-weight="bold">{name}</text>')
    for since_s, until_s, head in lives([(frame.at_s, tuple(frame.head)) for frame in frames], length_s):
        body.append(times.shown(since_s, until_s, screen.drawn(head, GAP + EDGE, GAP)))
    for number, pane in enumerate(panes):
        for row in range(pane.rows):
            seen = [(frame.at_s, line(frame.panes[number], row)) for frame in frames]
            for since_s, until_s, runs in lives(seen, length_s):
                elements = screen.drawn(runs, pane.left + EDGE, pane.top + NAME + row * screen.HEIGHT)
                if elements:
                    body.append(times.shown(since_s, until_s, elements))
    out = screen.head(width, height, title)
    return "\n".join([*out, times.style(), screen.LETTERS, *body, "</g>", "</svg>", ""])


def line(lines, row):
    """Its runs, which can be compared."""
    return tuple(lines[row]) if row < len(lines) else ()


def lives(seen, length_s):
    """From when until when each value stood, of a list of times and values."""
    found = []
    for at_s, value in seen:
        if found and found[-1][2] == value:
            continue
        if found:
            found[-1][1] = at_s
        found.append([at_s, length_s, value])
    return found


class Times:
    """Who is shown at the same times has the same class, and the style sheet a rule for it."""

    def __init__(self, length_s):
        self.length_s = length_s
        self.classes = {}

    def shown(self, since_s, until_s, elements):
        if since_s == 0 and until_s == self.length_s:
            return "\n".join(elements)
        number = self.classes.setdefault((since_s, until_s), len(self.classes))
        return "\n".join([f'<g class="t{number}">', *elements, "</g>"])

    def style(self):
        rules = []
        for (since_s, until_s), number in self.classes.items():
            stays = until_s == self.length_s
            # Without motion only the end is seen.
            hidden = "" if stays else "visibility:hidden;"
            rules.append(f".t{number}{{{hidden}animation:k{number} {self.length_s:.2f}s step-end infinite}}")
            steps = [] if since_s == 0 else ["0%{visibility:hidden}"]
            steps.append(f"{self.percent(since_s)}%{{visibility:visible}}")
            if not stays:
                steps.append(f"{self.percent(until_s)}%{{visibility:hidden}}")
            rules.append(f"@keyframes k{number}{{{''.join(steps)}}}")
        rules.append("@media (prefers-reduced-motion:reduce){g{animation:none!important}}")
        return "\n".join(["<style>", *rules, "</style>"])

    def percent(self, at_s):
        return f"{100 * at_s / self.length_s:.2f}".rstrip("0").rstrip(".")
