-- What wrk sends. One thread is one virtual user with one connection, so that each user holds a
-- chain of refresh tokens of its own: `wrk -t N -c N -s load.lua URL -- KIND FILE`.
-- FILE: a line for each user: a login body, a bearer token, an ETag, or refresh tokens of as many
-- families as the user is to walk over, separated by commas.
local kind, threads = nil, {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

function init(args)
  kind = args[1]
  local n = 0
  for line in io.lines(args[2]) do
    n = n + 1
    if n == number then secret = line end
  end
  ok, kept, failed, first_failure = 0, 0, 0, ""
  local json = { ["content-type"] = "application/json" }
  if kind == "login" then
    fixed = wrk.format("POST", "/auth/login", json, secret)
  elseif kind == "jwks" then
    fixed = wrk.format("GET", "/.well-known/jwks.json")
  elseif kind == "jwks304" then
    fixed = wrk.format("GET", "/.well-known/jwks.json", { ["if-none-match"] = secret })
  elseif kind == "me" then
    fixed = wrk.format("GET", "/auth/me", { authorization = "Bearer " .. secret })
  elseif kind == "flood" then
    fixed = wrk.format("POST", "/auth/login", json, secret)
    pause = tonumber(args[3])
  elseif kind == "plain" then
    fixed = wrk.format("GET", "/")
  end
  head = "POST /auth/refresh HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
  if kind == "mixed" then
    -- The line: refresh tokens, a bearer token and a login body, separated by spaces.
    local tokens, bearer, body = secret:match("(%S+) (%S+) (.+)")
    secret = tokens
    me = wrk.format("GET", "/auth/me", { authorization = "Bearer " .. bearer })
    login = wrk.format("POST", "/auth/login", json, body)
    jwks = wrk.format("GET", "/.well-known/jwks.json")
  end
  if not fixed then
    chains, turn = {}, 0
    for token in secret:gmatch("[^,]+") do chains[#chains + 1] = token end
  end
end

-- Milliseconds before each request: a flood comes at a stated rate, however slow the answers are.
function delay() return pause or 0 end

function request()
  if kind == "mixed" then return mixed() end
  if fixed then return fixed end
  turn = turn % #chains + 1
  local body = '{"refresh_token":"' .. chains[turn] .. '"}'
  return head .. "content-length: " .. #body .. "\r\n\r\n" .. body
end

-- Of a hundred requests: 70 /auth/me, 20 refreshes, 8 key sets, 2 logins.
function mixed()
  count = (count or number * 7) + 1
  local place = count % 100
  rotating = false
  if place % 50 == 0 then return login end
  if place % 5 == 1 then
    rotating = true
    turn = turn % #chains + 1
    local body = '{"refresh_token":"' .. chains[turn] .. '"}'
    return head .. "content-length: " .. #body .. "\r\n\r\n" .. body
  end
  if place % 12 == 2 then return jwks end
  return me
end

function response(status, headers, body)
  if kind == "flood" then
    -- 401: the password was hashed and is wrong. 503: there was no time to hash it.
    if status == 401 then ok = ok + 1 elseif status ~= 503 then failed = failed + 1 end
  elseif status == 200 or status == 304 then
    ok = ok + 1
    if not fixed and rotating ~= false then
      local successor = body:match('"refresh_token":"([^"]+)"')
      if successor then chains[turn] = successor else failed = failed + 1 end
    end
  else
    failed = failed + 1
    if first_failure == "" then first_failure = status .. " " .. body:sub(1, 200) end
  end
end

function done(summary, latency, requests)
  local ok, failed, failure, tokens = 0, 0, "", {}
  for i, thread in ipairs(threads) do
    ok, failed = ok + thread:get("ok"), failed + thread:get("failed")
    if failure == "" then failure = thread:get("first_failure") end
    tokens[i] = table.concat(thread:get("chains") or {}, ",")
  end
  local e = summary.errors
  io.write("RESULT\t", summary.duration / 1e6, "\t", summary.requests, "\t", ok, "\t", failed, "\t",
    e.connect + e.read + e.write + e.timeout, "\t", latency:percentile(50), "\t",
    latency:percentile(95), "\t", latency:percentile(99), "\t", latency.max, "\n")
  io.write("FAILURE\t", (failure:gsub("%s", " ")), "\n")
  for _, token in ipairs(tokens) do io.write("LAST\t", token, "\n") end
end
