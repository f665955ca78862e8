-- Ask authsvc whose request this is (see haproxy.cfg).

local ADDRESS = "http://127.0.0.1:8000/auth/verify?upstream=orders"
local HOST = "localhost" -- of the issuer

-- What authsvc decides by; nothing else of the request is its business.
local ASKED = {
    "authorization", "cookie", "origin", "referer", "sec-fetch-site", "x-csrf-token",
    "sec-websocket-key", "sec-websocket-version",
}

local function first(headers, name)
    local values = headers[name]
    return values and values[0] or values and values[1] or ""
end

core.register_action("verify", { "http-req" }, function(txn)
    txn:set_var("txn.verified", 0)
    local received = txn.http:req_get_headers()
    local asked = {
        ["host"] = { HOST },
        ["x-forwarded-for"] = { txn.f:src() },
        ["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" },
        ["x-forwarded-method"] = { txn.f:method() },
    }
    for _, name in ipairs(ASKED) do
        if received[name] then
            asked[name] = {}
            for _, value in pairs(received[name]) do
                table.insert(asked[name], value)
            end
        end
    end
    local answer = core.httpclient():get({ url = ADDRESS, headers = asked, timeout = 5000 })
    if not answer or not answer.status then
        return
    end
    txn:set_var("txn.challenge", first(answer.headers, "www-authenticate"))
    txn:set_var("txn.user_id", first(answer.headers, "x-user-id"))
    txn:set_var("txn.user_roles", first(answer.headers, "x-user-roles"))
    txn:set_var("txn.session_id", first(answer.headers, "x-session-id"))
    txn:set_var("txn.identity_assertion", first(answer.headers, "x-identity-assertion"))
    txn:set_var("txn.verified", answer.status)
end)
