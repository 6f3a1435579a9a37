-- The requests of a plan, in turn.   wrk -s wrk.lua URL -- PLAN [COUNT [GAP SEED]]
-- A line of PLAN is METHOD, PATH, CONTENT-TYPE, AUTHORIZATION and the file of the body, separated by tabs.
-- With COUNT above 0 the run ends after that many answers. With GAP, milliseconds, requests come as those of
-- independent callers do: so far apart in the mean, exponentially distributed, whatever became of those before, as long
-- as a connection is free. One SEED gives one schedule. Latency counts from the sending. The summary is one line of
-- JSON, in microseconds; with GAP it has every latency, how often wrk counts it, and the gaps of the schedule in milliseconds.
local ffi = require("ffi")
ffi.cdef([[
  int getpid(void);
  int kill(int process, int signal);
  struct timespec { long seconds; long nanoseconds; };
  int clock_gettime(int clock, struct timespec *time);
]])

local INTERRUPT = 2 -- wrk's own early end: it stops, sums up and calls done
local MONOTONIC = 1
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  plan, gaps, sent, ok, refused, failed = {}, {}, 0, 0, 0, 0
  limit = tonumber(args[2])
  gap = tonumber(args[3])
  if gap then
    math.randomseed(tonumber(args[4]))
    local due
    delay = function() -- wrk asks for this global, once init has run, when a connection is free
      local time, wait = now(), -gap * math.log(1 - math.random())
      table.insert(gaps, wait)
      due = (due or time) + wait
      return math.max(0, math.floor(0.5 + due - time))
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

function now() -- milliseconds
  local time = ffi.new("struct timespec")
  ffi.C.clock_gettime(MONOTONIC, time)
  return 1e3 * tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e6
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
  local errors, seen, planned = summary.errors, {}, {}
  for _, wait in ipairs(threads[1]:get("gaps")) do
    table.insert(planned, string.format("%.6f", wait))
  end
  for i = 1, threads[1]:get("gap") and #latency or 0 do -- slow where there are many
    local microseconds, count = latency(i)
    table.insert(seen, string.format("[%d, %d]", microseconds, count))
  end
  io.write(string.format(
    '\n{"ok": %d, "refused": %d, "failed": %d, "lost": %d, "answers": %d, "microseconds": %d, "p50": %d, "p95": %d, "p99": %d, "seen": [%s], "gaps": [%s]}\n',
    ok, refused, failed, errors.connect + errors.read + errors.write + errors.timeout, summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99), table.concat(seen, ", "), table.concat(planned, ", ")))
end
