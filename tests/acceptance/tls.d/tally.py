"""What was tried, a line each as it happens, and the counts of the last line."""

import pathlib
import traceback


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, what, attempt, *arguments):
        """Tries something: it fails by raising an error; words that it returns are told."""
        try:
            said = attempt(*arguments)
        except Exception as error:
            self.book(what, [f"{type(error).__name__}: {error} ({where(error)})"])
        else:
            self.book(f"{what}: {said}" if said else what, [])

    def book(self, what, faults):
        if faults:
            self.failed += 1
            print(f"FAILED {what}", flush=True)
            for fault in faults[:5]:
                print(f"       {fault}", flush=True)
        else:
            self.passed += 1
            print(f"ok     {what}", flush=True)

    def skip(self, what, why):
        self.skipped += 1
        print(f"skipped {what}: {why}", flush=True)

    def tell(self):
        """The last line, and the exit status."""
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed or not self.passed else 0


def where(error):
    here = pathlib.Path(__file__).parents[1]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(here) in frame.filename]
    place = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"line {place.lineno} of {pathlib.Path(place.filename).name}"
