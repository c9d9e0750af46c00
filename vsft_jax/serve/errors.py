"""What a client is told when a request cannot be answered, in the form of OpenAI's servers."""

from typing import Any

from input_pipeline.errors import UserError


class RequestError(UserError):
    """A request that is refused. status: of HTTP. param: the field that is to blame, as in
    "messages[0].content[1].image_url.url". code: one word for programs."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ):
        super().__init__(message)
        self.param, self.code, self.status = param, code, status


def error_body(status: int, message: str, param: str | None, code: str | None) -> dict[str, Any]:
    """The JSON of an error, as https://platform.openai.com/docs/guides/error-codes has it."""
    kinds = {404: "not_found_error", 429: "rate_limit_error"}
    kind = "server_error" if status >= 500 else kinds.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
