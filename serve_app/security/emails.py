"""What counts as an e-mail address: one @, something on both sides, at most 254 characters."""

from cluster.errors import InvalidInput

MAXIMUM_LENGTH = 254


def check_email(email: str) -> str:
    """
    The address in lower case, as accounts store it.

    Raises:
        InvalidInput: If it is none; nothing cleverer is checked, since only a mail would prove it.
    """
    # Measured as it is stored: some letters are longer in lower case.
    email = email.lower()
    local, at, domain = email.partition("@")
    is_one = bool(local and at and domain) and "@" not in domain
    if not is_one or len(email) > MAXIMUM_LENGTH or not email.isprintable() or " " in email:
        raise InvalidInput(
            f"an e-mail address has one @ and at most {MAXIMUM_LENGTH} characters, without spaces:"
            " correct it"
        )
    return email
