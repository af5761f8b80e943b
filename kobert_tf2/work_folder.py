"""The folder for the intermediate files of a long run, from which a killed run can resume."""

import re
import sys

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError

# Files of `beam_map` that a killed run may have left.
_BEAM = r"beam-[0-9a-f]{8}\.(?:function|results)"


class WorkFolder:
    """The folder of intermediate files, locked for one run.

    `work.json` in it identifies the run. An existing folder with other files may be used: those files are neither
    replaced nor removed, and the folder is then kept.

    Args:
      run: identifies the run. A folder of another run is rejected, or with `afresh` its files are removed.
      tool: the tool that writes the files, for the signature in `work.json`.
      names: a regular expression that matches the names of the intermediate files.
    """

    _MARKER = "work.json"

    def __init__(self, path: str, run: str, *, tool: str, names: str, afresh: bool = False) -> None:
        self.path, self._afresh = path, afresh
        self._ours = re.compile(rf"(?:{names}|{_BEAM}|{re.escape(self._MARKER)})(?:\.tmp-\d+)?")
        is_new = not files.exists(path)
        files.make_folder(path)
        self._lock = outputs.FolderLock(path)
        try:
            self._is_ours = self._made_by_this_run(run, is_new=is_new)
        except BaseException:
            self.release()
            raise
        files.write_json(self._marker, outputs.signed({"run": run, "made": self._is_ours}, tool))
        for name in self._names():
            if ".tmp-" in name or re.fullmatch(_BEAM, name):
                files.remove(f"{path}/{name}")

    @property
    def _marker(self) -> str:
        return f"{self.path}/{self._MARKER}"

    def _made_by_this_run(self, run: str, *, is_new: bool) -> bool:
        """Whether the folder is to be removed at the end. Raises `InputError` if it contains another run's files."""
        if files.exists(self._marker):
            marker = files.read_json(self._marker, dict)
            is_signed = outputs.is_signed(self._marker)
            if not is_signed or (marker.get("run") != run and not self._afresh):
                raise InputError(
                    f"{self.path}: holds the files of another run; name another --work_dir, or start with --overwrite"
                )
            if marker.get("run") != run:
                for name in self._names():
                    files.remove(f"{self.path}/{name}")
            return marker.get("made") is True
        if not is_new and (names := self._names()) and not self.path.endswith(".work"):
            raise InputError(f"{self.path}/{names[0]}: already there, and not of this run; name another --work_dir")
        return is_new or self.path.endswith(".work")

    def _names(self) -> list[str]:
        return [name for name in files.names_in(self.path) if self._ours.fullmatch(name)]

    def release(self) -> None:
        self._lock.release()

    def remove(self) -> None:
        """Removes the run's files, and the folder if the run created it and nothing else is in it."""
        for name in self._names():
            files.remove(f"{self.path}/{name}")
        if self._is_ours:
            files.remove_empty_folder(self.path)
        if left := files.names_in(self.path):
            message = f"{self.path}: stays, for it holds other files: {', '.join(left[:3])}"
            print(message, file=sys.stderr, flush=True)
        self.release()
