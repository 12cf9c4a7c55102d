/* The scripts of the coordinator's store themselves. */
#include "link/redis_flow_script.h"

#include <errno.h>
#include <stdio.h>

#include "base/sha1.h"
#include "link/redis_history.h"

/* What a run refers to, wherever it is written in its records. */
#define KEEP_REFS                                                                                  \
    "local function each_ref(text, seen)\n"                                                        \
    "  for ref in string.gmatch(text, 'sha256:%x+') do\n"                                          \
    "    if #ref == 71 and not seen[ref] then\n"                                                   \
    "      seen[ref] = true\n"                                                                     \
    "      seen[#seen + 1] = 'cas:' .. ref\n"                                                      \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local function keep_refs(run, header, keep)\n"                                                \
    "  local seen = {}\n"                                                                          \
    "  each_ref(header or '', seen)\n"                                                             \
    "  for i, ref in ipairs(redis.call('HVALS', 'context:' .. run)) do each_ref(ref, seen) end\n"  \
    "  for i, record in ipairs(redis.call('HVALS', 'nodes:' .. run)) do each_ref(record, seen) "   \
    "end\n"                                                                                        \
    "  for i, key in ipairs(seen) do redis.call('PEXPIRE', key, keep) end\n"                       \
    "end\n"

/* To the front of the common list, in their order: they have waited longest. */
#define GIVE_BACK                                                                                  \
    "local function give_back(name)\n"                                                             \
    "  local list = 'completion_signals:' .. name\n"                                               \
    "  while redis.call('LMOVE', list, 'completion_signals', 'RIGHT', 'LEFT') do end\n"            \
    "end\n"                                                                                        \
    "local function time_ms()\n"                                                                   \
    "  local now = redis.call('TIME')\n"                                                           \
    "  return now[1] * 1000 + math.floor(now[2] / 1000)\n"                                         \
    "end\n"

/* Everything is decided before the first write, which is one that Redis refuses when it is full: so a
 * commit is applied whole or not at all. Whatever follows the first write is not refused. The events
 * are published last, and what is wrong with a history does not undo a commit.
 *
 * What is of one key is told to Redis at once: each call from Lua costs some microseconds, most of them
 * more than what is called. Where tasks stand, and what else a run's end must find, is gathered in notes
 * (false: it goes), entries of tasks that are over in done. */
#define COMMIT                                                                                     \
    "local A, call = ARGV, redis.call\n"                                                           \
    "local run, want, keep = A[1], A[2], A[3]\n"                                                   \
    "local run_key, applied, entries = 'run:' .. run, 'applied:' .. run, 'entries:' .. run\n"      \
    "local function spread(command, key, from, to, list)\n"                                        \
    "  for i = from, to, 4000 do call(command, key, unpack(list or A, i, math.min(i + 3999, "      \
    "to))) end\n"                                                                                  \
    "end\n"                                                                                        \
    "local notes, done = {}, {}\n"                                                                 \
    "local function take_off(where)\n"                                                             \
    "  local stream, id = string.match(where, '^(%S+) (.+)$')\n"                                   \
    "  done[stream] = done[stream] or {}\n"                                                        \
    "  table.insert(done[stream], id)\n"                                                           \
    "end\n"                                                                                        \
    "local function settle()\n"                                                                    \
    "  local set, gone = {}, {}\n"                                                                 \
    "  for field, text in pairs(notes) do\n"                                                       \
    "    if text then\n"                                                                           \
    "      set[#set + 1] = field\n"                                                                \
    "      set[#set + 1] = text\n"                                                                 \
    "    else\n"                                                                                   \
    "      gone[#gone + 1] = field\n"                                                              \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "  spread('HSET', entries, 1, #set, set)\n"                                                    \
    "  spread('HDEL', entries, 1, #gone, gone)\n"                                                  \
    "  for stream, ids in pairs(done) do\n"                                                        \
    "    local key = 'wf.tasks.' .. stream\n"                                                      \
    "    for i = 1, #ids, 4000 do\n"                                                               \
    "      call('XACK', key, stream .. '_workers', unpack(ids, i, math.min(i + 3999, #ids)))\n"    \
    "    end\n"                                                                                    \
    "    spread('XDEL', key, 1, #ids, ids)\n"                                                      \
    "  end\n"                                                                                      \
    "  notes, done = {}, {}\n"                                                                     \
    "end\n"                                                                                        \
    "local version = call('HGET', run_key, 'version')\n"                                           \
    "if want == '0' then\n"                                                                        \
    "  if version then return 'exists' end\n"                                                      \
    "elseif version ~= want then\n"                                                                \
    "  return 'stale'\n"                                                                           \
    "end\n"                                                                                        \
    "local at = 10 + A[9]\n"                                                                       \
    "local had = {}\n"                                                                             \
    "for i = 10, at - 1, 4000 do\n"                                                                \
    "  local part = call('SMISMEMBER', applied, unpack(A, i, math.min(i + 3999, at - 1)))\n"       \
    "  for k = 1, #part do had[i - 10 + k] = part[k] end\n"                                        \
    "end\n"                                                                                        \
    "for i = 1, tonumber(A[8]) do\n"                                                               \
    "  if had[i] == 1 then return 'already' end\n"                                                 \
    "end\n"                                                                                        \
    "if want == '0' and not call('SET', 'run:started:' .. run, '1', 'NX', 'EX', 86400) then\n"     \
    "  return 'exists'\n"                                                                          \
    "end\n"                                                                                        \
    "local new = string.format('%.0f', want + 1)\n"                                                \
    "if A[at] ~= 'H' then call('HSET', run_key, 'version', new) end\n"                             \
    "if at > 10 then spread('SADD', applied, 10, at - 1) end\n"                                    \
    "local events = {}\n"                                                                          \
    "local last = #A\n"                                                                            \
    "while at < last do\n"                                                                         \
    "  local code, from = A[at], at + 2\n"                                                         \
    "  at = from + A[at + 1]\n"                                                                    \
    "  local to = at - 1\n"                                                                        \
    "  if code == 'H' then\n"                                                                      \
    "    call('HSET', run_key, 'version', new, 'header', A[to - 1])\n"                             \
    "    call('SET', 'counter:' .. run, A[to])\n"                                                  \
    "  elseif code == 'N' then\n"                                                                  \
    "    spread('HSET', 'nodes:' .. run, from, to)\n"                                              \
    "  elseif code == 'U' then\n"                                                                  \
    "    spread('HSET', 'context:' .. run, from, to)\n"                                            \
    "  elseif code == 'B' then\n"                                                                  \
    "    for i = from, to, 2 do call('SET', A[i], A[i + 1], 'PX', keep) end\n"                     \
    "  elseif code == 'Q' then\n"                                                                  \
    "    local old, where = {}, {}\n"                                                              \
    "    for i = from, to, 4 do\n"                                                                 \
    "      if A[i] == '-' then old[#old + 1] = A[i + 2] end\n"                                     \
    "    end\n"                                                                                    \
    "    for i = 1, #old, 4000 do\n"                                                               \
    "      local part = call('HMGET', entries, unpack(old, i, math.min(i + 3999, #old)))\n"        \
    "      for k = 1, #part do where[old[i - 1 + k]] = part[k] end\n"                              \
    "    end\n"                                                                                    \
    "    for i = from, to, 4 do\n"                                                                 \
    "      local emitted, name, node = A[i], A[i + 1], A[i + 2]\n"                                 \
    "      if emitted == '-' then\n"                                                               \
    "        if where[node] then\n"                                                                \
    "          take_off(where[node])\n"                                                            \
    "          where[node], notes[node] = false, false\n"                                          \
    "        end\n"                                                                                \
    "      elseif had[tonumber(emitted)] ~= 1 then\n"                                              \
    "        local id = call('XADD', 'wf.tasks.' .. name, '*', 'token', A[i + 3])\n"               \
    "        where[node] = name .. ' ' .. id\n"                                                    \
    "        notes[node] = where[node]\n"                                                          \
    "      end\n"                                                                                  \
    "    end\n"                                                                                    \
    "  elseif code == 'J' then\n"                                                                  \
    "    local joins = {}\n"                                                                       \
    "    for i = from, to, 2 do\n"                                                                 \
    "      if A[i + 1] == '' then joins[A[i]] = {over = true}\n"                                   \
    "      else\n"                                                                                 \
    "        joins[A[i]] = joins[A[i]] or {}\n"                                                    \
    "        table.insert(joins[A[i]], A[i + 1])\n"                                                \
    "      end\n"                                                                                  \
    "    end\n"                                                                                    \
    "    for node, came in pairs(joins) do\n"                                                      \
    "      local key = 'pending_tokens:' .. run .. ':' .. node\n"                                  \
    "      if came.over then call('DEL', key) end\n"                                               \
    "      spread('SADD', key, 1, #came, came)\n"                                                  \
    "      notes[':join:' .. node] = #came > 0 and ''\n"                                           \
    "    end\n"                                                                                    \
    "  elseif code == 'Z' then\n"                                                                  \
    "    for i = from, to, 2 do\n"                                                                 \
    "      local member = run .. ':' .. A[i]\n"                                                    \
    "      if A[i + 1] == '' then call('ZREM', 'wf.timers', member)\n"                             \
    "      else call('ZADD', 'wf.timers', A[i + 1], member) end\n"                                 \
    "    end\n"                                                                                    \
    "  elseif code == 'A' then\n"                                                                  \
    "    for i = from, to, 2 do\n"                                                                 \
    "      local key, note = 'hitl:approval:' .. run .. ':' .. A[i], ':human:' .. A[i]\n"          \
    "      if A[i + 1] == '' then\n"                                                               \
    "        call('DEL', key)\n"                                                                   \
    "      else\n"                                                                                 \
    "        call('SET', key, A[i + 1])\n"                                                         \
    "      end\n"                                                                                  \
    "      notes[note] = A[i + 1] ~= '' and ''\n"                                                  \
    "    end\n"                                                                                    \
    "  elseif code == 'S' then\n"                                                                  \
    "    for i = from, to do call('LREM', A[7], 1, A[i]) end\n"                                    \
    "  elseif code == 'E' then\n"                                                                  \
    "    spread('RPUSH', 'events:' .. run, from, to)\n"                                            \
    "    for i = from, to do events[#events + 1] = A[i] end\n"                                     \
    "  elseif code == 'O' then\n"                                                                  \
    "    call('HSET', run_key, 'user', A[from], 'tag', A[from + 1], 'created', A[from + 3],\n"     \
    "      'status', 'running')\n"                                                                 \
    "    call('SET', 'ir:' .. run, A[from + 2], 'EX', 86400)\n"                                    \
    "    call('ZADD', 'wf.runs', A[from + 3], run)\n"                                              \
    "    call('ZADD', 'wf.runs.running', A[from + 3], run)\n"                                      \
    "  elseif code == 'C' then\n"                                                                  \
    "    local status, known = A[from], call('HMGET', run_key, 'created', 'header')\n"             \
    "    call('HSET', run_key, 'status', status)\n"                                                \
    "    call('ZREM', 'wf.runs.running', run)\n"                                                   \
    "    call('ZADD', 'wf.runs.' .. status, known[1] or A[from + 1], run)\n"                       \
    "    call('ZADD', 'wf.runs.finished', A[from + 1], run)\n"                                     \
    "    settle()\n"                                                                               \
    "    local left = call('HGETALL', entries)\n"                                                  \
    "    for i = 1, #left, 2 do\n"                                                                 \
    "      local kind, node = string.match(left[i], '^:(%a+):(.+)$')\n"                            \
    "      if kind == 'join' then call('PEXPIRE', 'pending_tokens:' .. run .. ':' .. node, "       \
    "keep)\n"                                                                                      \
    "      elseif kind == 'human' then call('PEXPIRE', 'hitl:approval:' .. run .. ':' .. node, "   \
    "keep)\n"                                                                                      \
    "      else\n"                                                                                 \
    "        take_off(left[i + 1])\n"                                                              \
    "        notes[left[i]] = false\n"                                                             \
    "      end\n"                                                                                  \
    "    end\n"                                                                                    \
    "    keep_refs(run, known[2], keep)\n"                                                         \
    "    for i, key in ipairs({run_key, 'ir:' .. run, 'counter:' .. run, applied, 'context:' .. "  \
    "run,\n"                                                                                       \
    "      'nodes:' .. run, 'events:' .. run, entries}) do call('PEXPIRE', key, keep) end\n"       \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "settle()\n"                                                                                   \
    "local function tell(channel, limits, verb)\n"                                                 \
    "  if not string.match(channel, '^[a-z0-9_-]+:.') then return end\n"                           \
    "  local tag = tag_of(channel)\n"                                                              \
    "  local cursors = record('fanout:history:' .. tag, 'fanout:meta:' .. tag, limits, events)\n"  \
    "  if cursors.err then return end\n"                                                           \
    "  local numbered, twin = 'fanout:pub:' .. tag, twin_of(channel, '')\n"                        \
    "  for i, event in ipairs(events) do\n"                                                        \
    "    call(verb, numbered, cursors[i] .. '\\n' .. event)\n"                                     \
    "    redis.pcall(verb, twin, event)\n"                                                         \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "if #events > 0 then pcall(tell, A[4], A[5], A[6]) end\n"                                      \
    "return tonumber(new)\n"

#define LOAD                                                                                       \
    "local known = redis.call('HMGET', 'run:' .. ARGV[1], 'version', 'header')\n"                  \
    "if not known[1] then return false end\n"                                                      \
    "local out = {known[1], known[2] or '', ''}\n"                                                 \
    "if ARGV[2] == '1' then out[3] = redis.call('GET', 'ir:' .. ARGV[1]) or '' end\n"              \
    "for i, word in ipairs(redis.call('HGETALL', 'nodes:' .. ARGV[1])) do out[3 + i] = word end\n" \
    "return out\n"

/* Workers write under cas:, too: what is no string is not what was asked for, today as tomorrow. */
#define GET                                                                                        \
    "local len = redis.pcall('STRLEN', ARGV[1])\n"                                                 \
    "if type(len) == 'table' then\n"                                                               \
    "  if string.find(len.err, 'WRONGTYPE', 1, true) then return false end\n"                      \
    "  return len\n"                                                                               \
    "end\n"                                                                                        \
    "if len > tonumber(ARGV[2]) then return len end\n"                                             \
    "return redis.call('GET', ARGV[1])\n"

#define EVENTS                                                                                     \
    "local header, key = redis.call('HGET', 'run:' .. ARGV[1], 'header'), 'events:' .. ARGV[1]\n"  \
    "if not header then return false end\n"                                                        \
    "local total = redis.call('LLEN', key)\n"                                                      \
    "local from, left, room = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])\n"           \
    "local out = {header, string.format('%.0f', total)}\n"                                         \
    "if left == 0 or left > total then left = total end\n"                                         \
    "while left > 0 and from < total do\n"                                                         \
    "  local count = math.min(left, 100)\n"                                                        \
    "  local part = redis.call('LRANGE', key, string.format('%.0f', from),\n"                      \
    "    string.format('%.0f', from + count - 1))\n"                                               \
    "  for i, event in ipairs(part) do\n"                                                          \
    "    if room < #event and #out > 2 then return out end\n"                                      \
    "    room = room - #event - 32\n"                                                              \
    "    out[#out + 1] = event\n"                                                                  \
    "  end\n"                                                                                      \
    "  from, left = from + count, left - count\n"                                                  \
    "end\n"                                                                                        \
    "return out\n"

/* Runs of the same millisecond are in the order of their bytes, which Lua's < may not be. */
#define LIST                                                                                       \
    "local status, tag, user, after = ARGV[1], ARGV[2], ARGV[3], ARGV[4]\n"                        \
    "local limit, budget = tonumber(ARGV[5]), tonumber(ARGV[6])\n"                                 \
    "local index = status == '' and 'wf.runs' or 'wf.runs.' .. status\n"                           \
    "local score = after ~= '' and redis.call('ZSCORE', 'wf.runs', after)\n"                       \
    "local out = {'0', after}\n"                                                                   \
    "if after ~= '' and not score then return out end\n"                                           \
    "local function older(id)\n"                                                                   \
    "  for i = 1, math.min(#id, #after) do\n"                                                      \
    "    local a, b = string.byte(id, i), string.byte(after, i)\n"                                 \
    "    if a ~= b then return a < b end\n"                                                        \
    "  end\n"                                                                                      \
    "  return #id < #after\n"                                                                      \
    "end\n"                                                                                        \
    "local offset = 0\n"                                                                           \
    "while true do\n"                                                                              \
    "  local page = redis.call('ZREVRANGEBYSCORE', index, score or '+inf', '-inf', "               \
    "'WITHSCORES',\n"                                                                              \
    "    'LIMIT', offset, 50)\n"                                                                   \
    "  for i = 1, #page, 2 do\n"                                                                   \
    "    local id = page[i]\n"                                                                     \
    "    if page[i + 1] ~= score or older(id) then\n"                                              \
    "      if budget == 0 or #out - 2 == limit then\n"                                             \
    "        out[1] = '1'\n"                                                                       \
    "        return out\n"                                                                         \
    "      end\n"                                                                                  \
    "      budget = budget - 1\n"                                                                  \
    "      out[2] = id\n"                                                                          \
    "      local known = redis.call('HMGET', 'run:' .. id, 'header', 'user', 'tag')\n"             \
    "      if known[1] and (user == '' or known[2] == user) and (tag == '' or known[3] == tag) "   \
    "then\n"                                                                                       \
    "        out[#out + 1] = known[1]\n"                                                           \
    "      end\n"                                                                                  \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "  if #page < 100 then return out end\n"                                                       \
    "  offset = offset + 50\n"                                                                     \
    "end\n"

/* The first write is one that Redis does even when it is full: it does the others then, too, and
 * nobody looks dead for want of memory. Who is dead is looked after twice, the second time a while
 * later: what it had asked for may have come to it in between. */
#define BEAT                                                                                       \
    "local me, now = ARGV[1], time_ms()\n"                                                         \
    "redis.call('ZREM', 'wf.coordinators.dead', me)\n"                                             \
    "redis.call('ZADD', 'wf.coordinators', now, me)\n"                                             \
    "if ARGV[3] == '1' then give_back(me) end\n"                                                   \
    "local claimed, died = {}, 0\n"                                                                \
    "local function take_over(name, last)\n"                                                       \
    "  local all = true\n"                                                                         \
    "  give_back(name)\n"                                                                          \
    "  for i = 4, #ARGV, 2 do\n"                                                                   \
    "    local stream, group = ARGV[i], ARGV[i + 1]\n"                                             \
    "    local rest = true\n"                                                                      \
    "    for round = 1, 10 do\n"                                                                   \
    "      local pending = redis.pcall('XPENDING', stream, group, '-', '+', 100, name)\n"          \
    "      if pending.err or #pending == 0 then\n"                                                 \
    "        rest = false\n"                                                                       \
    "        break\n"                                                                              \
    "      end\n"                                                                                  \
    "      local ids = {}\n"                                                                       \
    "      for k, entry in ipairs(pending) do ids[k] = entry[1] end\n"                             \
    "      redis.pcall('XCLAIM', stream, group, me, 0, unpack(ids))\n"                             \
    "      claimed[stream] = true\n"                                                               \
    "    end\n"                                                                                    \
    "    if rest then all = false\n"                                                               \
    "    elseif last then redis.pcall('XGROUP', 'DELCONSUMER', stream, group, name) end\n"         \
    "  end\n"                                                                                      \
    "  return all\n"                                                                               \
    "end\n"                                                                                        \
    "local silent = redis.call('ZRANGEBYSCORE', 'wf.coordinators', '-inf', now - ARGV[2], "        \
    "'LIMIT', 0, 16)\n"                                                                            \
    "for i, name in ipairs(silent) do\n"                                                           \
    "  if take_over(name, false) then\n"                                                           \
    "    redis.call('ZREM', 'wf.coordinators', name)\n"                                            \
    "    redis.call('ZADD', 'wf.coordinators.dead', now, name)\n"                                  \
    "    died = died + 1\n"                                                                        \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local old = redis.call('ZRANGEBYSCORE', 'wf.coordinators.dead', '-inf', now - 6 * ARGV[2],\n" \
    "  'LIMIT', 0, 16)\n"                                                                          \
    "for i, name in ipairs(old) do\n"                                                              \
    "  if take_over(name, true) then redis.call('ZREM', 'wf.coordinators.dead', name) end\n"       \
    "end\n"                                                                                        \
    "local out = {tostring(died)}\n"                                                               \
    "for stream in pairs(claimed) do out[#out + 1] = stream end\n"                                 \
    "return out\n"

/* A timer that is told is due again soon, unless a commit says otherwise: so it is told to one of the
 * coordinators at a time, and not lost with it. */
#define TIMERS                                                                                     \
    "local now, count, more = tonumber(ARGV[1]), tonumber(ARGV[3]), '0'\n"                         \
    "local due = redis.call('ZRANGEBYSCORE', 'wf.timers', '-inf', ARGV[1], 'LIMIT', 0, count)\n"   \
    "local out = {'', ''}\n"                                                                       \
    "for i, member in ipairs(due) do\n"                                                            \
    "  local run = string.match(member, '^(.+):[^:]+$')\n"                                         \
    "  if run and redis.call('HGET', 'run:' .. run, 'status') == 'running' then\n"                 \
    "    redis.call('ZADD', 'wf.timers', string.format('%.0f', now + ARGV[2]), member)\n"          \
    "    out[#out + 1] = member\n"                                                                 \
    "  else\n"                                                                                     \
    "    redis.call('ZREM', 'wf.timers', member)\n"                                                \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "if #due == count then more = '1' end\n"                                                       \
    "local over = redis.call('ZRANGEBYSCORE', 'wf.runs.finished', '-inf',\n"                       \
    "  string.format('%.0f', now - ARGV[4]), 'LIMIT', 0, 1000)\n"                                  \
    "if #over > 0 then\n"                                                                          \
    "  for i, index in ipairs({'wf.runs', 'wf.runs.completed', 'wf.runs.failed', "                 \
    "'wf.runs.cancelled',\n"                                                                       \
    "    'wf.runs.finished'}) do redis.call('ZREM', index, unpack(over)) end\n"                    \
    "end\n"                                                                                        \
    "if #over == 1000 then more = '1' end\n"                                                       \
    "local first = redis.call('ZRANGE', 'wf.timers', 0, 0, 'WITHSCORES')\n"                        \
    "out[1], out[2] = first[2] and string.format('%.0f', first[2]) or '', more\n"                  \
    "return out\n"

#define TAKE                                                                                       \
    "local signals = redis.call('LRANGE', 'completion_signals', 0, ARGV[2] - 1)\n"                 \
    "if #signals > 0 then\n"                                                                       \
    "  redis.call('RPUSH', ARGV[1], unpack(signals))\n"                                            \
    "  redis.call('LTRIM', 'completion_signals', #signals, -1)\n"                                  \
    "end\n"                                                                                        \
    "return signals\n"

#define DEAD                                                                                       \
    "redis.call('XADD', 'wf.dead', 'MAXLEN', '~', 10000, '*', 'kind', ARGV[1], 'reason', "         \
    "ARGV[2],\n"                                                                                   \
    "  'body', ARGV[3], 'at', ARGV[4])\n"                                                          \
    "if ARGV[6] then\n"                                                                            \
    "  redis.call('XACK', ARGV[5], ARGV[6], ARGV[7])\n"                                            \
    "  redis.call('XDEL', ARGV[5], ARGV[7])\n"                                                     \
    "else\n"                                                                                       \
    "  redis.call('LREM', ARGV[5], 1, ARGV[3])\n"                                                  \
    "end\n"                                                                                        \
    "return 'ok'\n"

#define SWEEP                                                                                      \
    "local runs = redis.call('ZRANGE', 'wf.runs.running', ARGV[1], ARGV[1] + ARGV[2] - 1)\n"       \
    "for i, run in ipairs(runs) do\n"                                                              \
    "  local header = redis.call('HGET', 'run:' .. run, 'header')\n"                               \
    "  if header then\n"                                                                           \
    "    redis.call('EXPIRE', 'ir:' .. run, 86400)\n"                                              \
    "    keep_refs(run, header, ARGV[3])\n"                                                        \
    "  else\n"                                                                                     \
    "    redis.call('ZREM', 'wf.runs.running', run)\n"                                             \
    "    redis.call('ZREM', 'wf.runs', run)\n"                                                     \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "return #runs\n"

/* As if silent since ever: the others need not wait. */
#define LEAVE                                                                                      \
    "redis.call('ZADD', 'wf.coordinators', 0, ARGV[1])\n"                                          \
    "give_back(ARGV[1])\n"                                                                         \
    "return 'ok'\n"

int redis_flow_script_text(enum redis_flow_script script, struct bytes *out)
{
    static const char *const texts[REDIS_FLOW_SCRIPTS] = {
        [REDIS_FLOW_COMMIT] = KEEP_REFS COMMIT,
        [REDIS_FLOW_LOAD] = LOAD,
        [REDIS_FLOW_GET] = GET,
        [REDIS_FLOW_EVENTS] = EVENTS,
        [REDIS_FLOW_LIST] = LIST,
        [REDIS_FLOW_BEAT] = GIVE_BACK BEAT,
        [REDIS_FLOW_TIMERS] = TIMERS,
        [REDIS_FLOW_TAKE] = TAKE,
        [REDIS_FLOW_DEAD] = DEAD,
        [REDIS_FLOW_SWEEP] = KEEP_REFS SWEEP,
        [REDIS_FLOW_LEAVE] = GIVE_BACK LEAVE,
    };
    int r = 0;

    if (script == REDIS_FLOW_COMMIT) {
        r = bytes_append_str(out, "local VERB = 'PUBLISH'\n");
        r = r ? r : bytes_append_str(out, redis_script_publishing());
    }
    return r ? r : bytes_append_str(out, texts[script]);
}

int redis_flow_script_sha(enum redis_flow_script script, char out[41])
{
    struct bytes text = {0};
    uint8_t sha[SHA1_BYTES];

    int r = redis_flow_script_text(script, &text);
    if (r == 0) {
        sha1(text.data, text.len, sha);
        for (size_t i = 0; i < sizeof(sha); i++) {
            snprintf(out + 2 * i, 3, "%02x", sha[i]);
        }
    }
    bytes_fini(&text);
    return r;
}
