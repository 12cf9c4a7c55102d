/* The scripts themselves. They run on Redis 6.2 and are one step for everybody else there. */
#include <stdio.h>
#include <string.h>

#include "base/sha1.h"
#include "link/redis_history.h"

/* An epoch is the time it began, in microseconds and base 36: whoever loses the meta key begins another.
 *
 * A hash that went without its stream, or a stream without its hash (eviction, a restore of one of them)
 * begins an epoch, too: XADD refuses an id that is not above the last. */
#define COMMON                                                                                     \
    "local function decimal(n) return string.format('%.0f', n) end\n"                              \
    "local function begin_epoch(stream, last)\n"                                                   \
    "  local now = redis.call('TIME')\n"                                                           \
    "  local n, text = now[1] * 1000000 + now[2], ''\n"                                            \
    "  while n > 0 do\n"                                                                           \
    "    local d = n % 36\n"                                                                       \
    "    text = string.sub('0123456789abcdefghijklmnopqrstuvwxyz', d + 1, d + 1) .. text\n"        \
    "    n = (n - d) / 36\n"                                                                       \
    "  end\n"                                                                                      \
    "  redis.call('DEL', stream)\n"                                                                \
    "  return text\n"                                                                              \
    "end\n"                                                                                        \
    "local META_MS = 7 * 86400000\n"

/* How it is published when the caller does not say. */
#define VERB(verb) "local VERB = '" verb "'\n"

/* Old events are looked for at every 16th: a pass may then take more than came since the last.
 * record() gives each of some payloads its place in the history, fanout_publish() publishes one. */
#define PUBLISH                                                                                    \
    "local function tag_of(channel)\n"                                                             \
    "  return '{' .. string.gsub(channel, '[%%{}]',\n"                                             \
    "    function(c) return string.format('%%%02X', string.byte(c)) end) .. '}'\n"                 \
    "end\n"                                                                                        \
    "local function twin_of(channel, payload)\n"                                                   \
    "  local ns, rest = string.match(channel, '^([a-z0-9_-]+):(.+)$')\n"                           \
    "  if ns == 'user' then return 'workflow:events:' .. rest, payload end\n"                      \
    "  if ns == 'room' then\n"                                                                     \
    "    return channel, '{\"room\":' .. cjson.encode(rest) .. ',\"from\":\"\",\"data\":' ..\n"    \
    "      cjson.encode(payload) .. '}'\n"                                                         \
    "  end\n"                                                                                      \
    "  return 'fanout:ch:' .. channel, payload\n"                                                  \
    "end\n"                                                                                        \
    "local function trim(stream, total, messages, bytes, age, ms)\n"                               \
    "  for i = 1, 64 do\n"                                                                         \
    "    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]\n"                   \
    "    if not oldest then return end\n"                                                          \
    "    local f = oldest[2]\n"                                                                    \
    "    local kept = total - tonumber(f[6]) + #f[2] + 32\n"                                       \
    "    if not ((age > 0 and ms - tonumber(f[4]) > age) or (bytes > 0 and kept > bytes)) then\n"  \
    "      return\n"                                                                               \
    "    end\n"                                                                                    \
    "    redis.call('XDEL', stream, oldest[1])\n"                                                  \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local function record(stream, meta, limits, payloads)\n"                                      \
    "  local known = redis.call('HMGET', meta, 'epoch', 'last', 'bytes', 'limits')\n"              \
    "  limits = limits ~= '' and limits or known[4] or '1000 4194304 86400000'\n"                  \
    "  local messages, bytes, age = string.match(limits, '^(%d+) (%d+) (%d+)$')\n"                 \
    "  if not age then return redis.error_reply('ERR limits are three numbers') end\n"             \
    "  messages, bytes, age = tonumber(messages), tonumber(bytes), tonumber(age)\n"                \
    "  local now = redis.call('TIME')\n"                                                           \
    "  local ms = now[1] * 1000 + math.floor(now[2] / 1000)\n"                                     \
    "  local epoch, last = known[1], tonumber(known[2] or 0)\n"                                    \
    "  local total = tonumber(known[3] or 0)\n"                                                    \
    "  if not epoch then epoch = begin_epoch(stream) end\n"                                        \
    "  local cursors = {}\n"                                                                       \
    "  local most, stamp = decimal(messages), decimal(ms)\n"                                       \
    "  local function add(id, payload)\n"                                                          \
    "    return redis.pcall('XADD', stream, 'MAXLEN', '~', most, id .. '-0',\n"                    \
    "      'd', payload, 't', stamp, 's', decimal(total))\n"                                       \
    "  end\n"                                                                                      \
    "  for i, payload in ipairs(payloads) do\n"                                                    \
    "    last, total = last + 1, total + #payload + 32\n"                                          \
    "    local id = decimal(last)\n"                                                               \
    "    if messages > 0 then\n"                                                                   \
    "      local added = add(id, payload)\n"                                                       \
    "      if type(added) == 'table' and added.err and string.find(added.err, 'equal or "          \
    "smaller') then\n"                                                                             \
    "        epoch = begin_epoch(stream)\n"                                                        \
    "        added = add(id, payload)\n"                                                           \
    "      end\n"                                                                                  \
    "      if type(added) == 'table' and added.err then return added end\n"                        \
    "      if last % 16 == 0 then trim(stream, total, messages, bytes, age, ms) end\n"             \
    "    end\n"                                                                                    \
    "    cursors[i] = epoch .. ':' .. id\n"                                                        \
    "  end\n"                                                                                      \
    "  if messages > 0 and age > 0 then redis.call('PEXPIRE', stream, decimal(age)) end\n"         \
    "  redis.call('HSET', meta, 'epoch', epoch, 'last', decimal(last), 'bytes', decimal(total),\n" \
    "    'limits', limits)\n"                                                                      \
    "  if age > 0 then redis.call('PEXPIRE', meta, decimal(age + META_MS))\n"                      \
    "  else redis.call('PERSIST', meta) end\n"                                                     \
    "  return cursors\n"                                                                           \
    "end\n"                                                                                        \
    "local function fanout_publish(keys, argv)\n"                                                  \
    "  local channel, payload = argv[1], argv[2]\n"                                                \
    "  if not payload or not string.match(channel, '^[a-z0-9_-]+:.') then\n"                       \
    "    return redis.error_reply('ERR fanout_publish wants a channel like user:alice and a "      \
    "payload')\n"                                                                                  \
    "  end\n"                                                                                      \
    "  if #payload > 33554432 then return redis.error_reply('ERR the payload is too large') end\n" \
    "  local tag = tag_of(channel)\n"                                                              \
    "  local stream = keys[1] or 'fanout:history:' .. tag\n"                                       \
    "  local meta, once = keys[2] or 'fanout:meta:' .. tag, keys[3]\n"                             \
    "  if once then\n"                                                                             \
    "    local before = redis.call('GET', once)\n"                                                 \
    "    if before then return before .. ' duplicate' end\n"                                       \
    "  end\n"                                                                                      \
    "  local cursors = record(stream, meta, argv[3] or '', {payload})\n"                           \
    "  if cursors.err then return cursors end\n"                                                   \
    "  local cursor = cursors[1]\n"                                                                \
    "  if once then redis.call('SET', once, cursor, 'PX', 600000) end\n"                           \
    "  local verb = argv[6] or VERB\n"                                                             \
    "  redis.call(verb, 'fanout:pub:' .. tag, cursor .. '\\n' .. payload)\n"                       \
    "  local twin, bare = argv[4], argv[5]\n"                                                      \
    "  if not twin then twin, bare = twin_of(channel, payload) end\n"                              \
    "  if not bare or bare == '' then bare = payload end\n"                                        \
    "  if twin ~= '' then redis.pcall(verb, twin, bare) end\n"                                     \
    "  return cursor\n"                                                                            \
    "end\n"

#define READ                                                                                       \
    "if #KEYS == 0 then return 'ok' end\n"                                                         \
    "local known = redis.call('HMGET', KEYS[2], 'epoch', 'last')\n"                                \
    "local epoch, last = known[1], known[2]\n"                                                     \
    "if not epoch then\n"                                                                          \
    "  epoch, last = begin_epoch(KEYS[1]), '0'\n"                                                  \
    "  redis.call('HSET', KEYS[2], 'epoch', epoch, 'last', last, 'bytes', '0')\n"                  \
    "  redis.call('PEXPIRE', KEYS[2], META_MS)\n"                                                  \
    "end\n"                                                                                        \
    "local function offset_of(entry) return string.match(entry[1], '^%d+') end\n"                  \
    "local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]\n"                      \
    "local out = {epoch, last, oldest and offset_of(oldest) or '0', '0'}\n"                        \
    "local left, room = tonumber(ARGV[2]), tonumber(ARGV[3])\n"                                    \
    "local now = redis.call('TIME')\n"                                                             \
    "local ms = now[1] * 1000 + math.floor(now[2] / 1000)\n"                                       \
    "local from = ARGV[1] == '' and '-' or decimal(tonumber(ARGV[1]) + 1) .. '-0'\n"               \
    "while true do\n"                                                                              \
    "  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 17)\n"                    \
    "  for i, entry in ipairs(entries) do\n"                                                       \
    "    local f = entry[2]\n"                                                                     \
    "    if left == 0 or (room < #f[2] and #out > 4) then\n"                                       \
    "      out[4] = '1'\n"                                                                         \
    "      return out\n"                                                                           \
    "    end\n"                                                                                    \
    "    left, room = left - 1, room - #f[2] - 128\n"                                              \
    "    out[#out + 1] = offset_of(entry)\n"                                                       \
    "    out[#out + 1] = decimal(math.max(0, ms - tonumber(f[4])))\n"                              \
    "    out[#out + 1] = f[2]\n"                                                                   \
    "    from = decimal(tonumber(offset_of(entry)) + 1) .. '-0'\n"                                 \
    "  end\n"                                                                                      \
    "  if #entries < 17 then return out end\n"                                                     \
    "end\n"

/* The offsets go on: whoever compares two of them in different epochs is at least not misled. */
#define RENEW                                                                                      \
    "local known = redis.call('HMGET', KEYS[2], 'epoch', 'last')\n"                                \
    "if known[1] and known[1] ~= ARGV[1] then return known[1] end\n"                               \
    "local epoch = begin_epoch(KEYS[1])\n"                                                         \
    "local last = math.max(tonumber(known[2] or 0), tonumber(ARGV[2]))\n"                          \
    "redis.call('HSET', KEYS[2], 'epoch', epoch, 'last', decimal(last), 'bytes', '0')\n"           \
    "redis.call('PEXPIRE', KEYS[2], META_MS)\n"                                                    \
    "return epoch\n"

const char *redis_script_text(enum redis_script script)
{
    static const char *const texts[REDIS_SCRIPTS] = {
        [REDIS_SCRIPT_PUBLISH] =
            VERB("PUBLISH") COMMON PUBLISH "return fanout_publish(KEYS, ARGV)\n",
        [REDIS_SCRIPT_READ] = COMMON READ,
        [REDIS_SCRIPT_RENEW] = COMMON RENEW,
    };

    return texts[script];
}

const char *redis_script_publishing(void)
{
    return COMMON PUBLISH;
}

/* In a cluster the twin's name may have another slot than the keys, and be of this node all the same. */
#define LIBRARY(verb)                                                                              \
    "#!lua name=fanout\n" VERB(verb) COMMON PUBLISH                                                \
        "redis.register_function{function_name='fanout_publish', callback=fanout_publish,\n"       \
        "  flags={'allow-cross-slot-keys'}}\n"

const char *redis_script_library(bool sharded)
{
    return sharded ? LIBRARY("SPUBLISH") : LIBRARY("PUBLISH");
}

struct span redis_script_sha(enum redis_script script, char out[41])
{
    const char *text = redis_script_text(script);
    uint8_t sha[SHA1_BYTES];

    sha1(text, strlen(text), sha);
    for (size_t i = 0; i < sizeof(sha); i++) {
        snprintf(out + 2 * i, 3, "%02x", sha[i]);
    }
    return span_of(out, 40);
}
