"""The one error type whose text an operator reads: where, what, what to do."""


class OperatorError(Exception):
    """Something the operator can mend.

    where: file:line:column, option or address; what: what was met and what it means;
    todo: what to do next. None of the three ever holds a prompt, key or matched text.
    exit_code: 2 for bad input, 3 for something outside (port taken, store gone, no permission).
    """

    def __init__(self, where: str, what: str, todo: str, *, exit_code: int = 2) -> None:
        super().__init__(f"{where}: {what}. {todo}")
        self.where = where
        self.what = what
        self.todo = todo
        self.exit_code = exit_code
