from ml_images.outcomes import BY_NAME, RETRYABLE


def test_names_are_unique_words_and_explained() -> None:
    for name, outcome in BY_NAME.items():
        assert name == outcome.name
        assert name.replace("_", "").isalpha() and name.islower()
        assert outcome.meaning


def test_the_list_holds_no_name_twice() -> None:
    import ml_images.outcomes as module

    assert len(BY_NAME) == len(module._ALL)


def test_what_is_final_is_never_asked_for_again() -> None:
    assert not RETRYABLE & {"ok", "not_found", "forbidden", "placeholder", "undecodable", "unsupported_format"}
    assert {"rate_limited", "server_error", "timeout", "truncated", "dns_error", "tls_error"} <= RETRYABLE
