"""What stands between a server and handlers. One signature: `(request, next) -> response`.

Every function here makes one piece of middleware from its settings; wrong settings are found then,
not with the first request. Pure: time, randomness and the log come with the request.

An order that works, outermost first: `request_id`, `access_log`, `catch_errors`,
`security_headers`, `cors`, `rate_limit`, `timeout`, `body_limit`, `compress`, `conditional`,
`sessions`, `csrf`, authentication.
"""
