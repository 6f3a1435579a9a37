-- The requests of a plan, in turn.   wrk -s wrk.lua URL -- PLAN [COUNT [PAUSE]]
-- A line of PLAN is METHOD, PATH, CONTENT-TYPE, AUTHORIZATION and the file of the body, separated by tabs.
-- With COUNT above 0 the run ends after that many answers. With PAUSE, milliseconds, each connection rests between an
-- answer and its next request: so long in the mean, exponentially distributed, as independent callers would. Latency
-- counts from the sending. The summary is one line of JSON.
local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int process, int signal);")

local INTERRUPT = 2 -- wrk's own early end: it stops, sums up and calls done
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  plan, sent, ok, refused, failed = {}, 0, 0, 0, 0
  limit = tonumber(args[2])
  local pause = tonumber(args[3])
  if pause then
    math.randomseed(ffi.C.getpid())
    delay = function() -- wrk asks for this global once init has run
      return math.floor(0.5 - pause * math.log(1 - math.random()))
    end
  end
  for line in io.lines(args[1]) do
    local method, path, kind, key, file = line:match("^(%S+)\t(%S+)\t([^\t]*)\t([^\t]*)\t([^\t]*)$")
    local headers, body = { ["Authorization"] = key }, nil
    if file ~= "" then
      local handle = assert(io.open(file, "rb"))
      body = handle:read("*a")
      handle:close()
      headers["Content-Type"] = kind
    end
    table.insert(plan, wrk.format(method, path, headers, body))
  end
end

function request()
  sent = sent + 1
  return plan[(sent - 1) % #plan + 1]
end

function response(status)
  if status < 400 then
    ok = ok + 1
  elseif status < 500 then
    refused = refused + 1
  else
    failed = failed + 1
  end
  if ok + refused + failed == limit then
    wrk.thread:stop()
    ffi.C.kill(ffi.C.getpid(), INTERRUPT)
  end
end

function done(summary, latency)
  local ok, refused, failed = 0, 0, 0
  for _, thread in ipairs(threads) do
    ok = ok + thread:get("ok")
    refused = refused + thread:get("refused")
    failed = failed + thread:get("failed")
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"ok": %d, "refused": %d, "failed": %d, "lost": %d, "microseconds": %d, "p50": %d, "p95": %d, "p99": %d}\n',
    ok, refused, failed, errors.connect + errors.read + errors.write + errors.timeout, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
