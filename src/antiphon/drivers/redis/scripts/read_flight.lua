-- KEYS: flight, followers, log. ARGV: epoch, number of the first piece, how many, process, presence (ms), kept (ms).
-- Returns whether it is led in this epoch, and the pieces.
local is_led = redis.call('HGET', KEYS[1], 'epoch') == ARGV[1]
if is_led then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[4])
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
redis.call('PEXPIRE', KEYS[3], ARGV[6])
if ARGV[3] == '0' then
    return {is_led and 1 or 0, {}}
end
return {is_led and 1 or 0, redis.call('LRANGE', KEYS[3], ARGV[2], ARGV[2] + ARGV[3] - 1)}
