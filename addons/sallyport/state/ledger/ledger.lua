-- The ledger in Redis or Valkey: one call of this script is one step of the port, whole or not at all.
--
-- ARGV[1] is the call as JSON. KEYS[1] is {namespace}:ledger. Every other key begins with the same hash tag, so
-- that all of them lie in one slot of a cluster; which leases are overdue is known only in here.
-- The sums are those of windows.py and accounting.py; the contract tests hold both to one model. All numbers
-- are integers below 2^53, which a double holds exactly; struct packs them as doubles.
--
-- tag:ledger    hash: NAME -> account, '' -> state, 'born' -> when this hash began, 'righted' -> how often its clock was set
--               right. NAME is key, 0x1f, shape of the window
-- tag:r:ID      reservation, packed: {state, due, entries}
-- tag:due       sorted set of open and expired reservations by when that state ends
-- tag:expired   sorted set of expired reservations
-- tag:index     sorted set of account names by when to ask whether they may be forgotten
-- tag:grants    hash of top-ups by key

local SWEEP_PER_CALL = 16
local MARGIN_MS = 600000
local SETTLED_KEEP_MS = 300000
local BOOKED_KEEP_MS = 86400000
local EXPIRED_KEEP_MS = 604800000
local CONCURRENT_RETRY_MS = 1000
local MAX_AMOUNT = 1125899906842624
local IDLE_TTL_MS = 400 * 86400000 -- after so long without any call the namespace vanishes
local TTL_EVERY_MS = 86400000
local NONE = -1

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local find, sub, format = string.find, string.sub, string.format
local call, pack, unpack_doubles = redis.call, struct.pack, struct.unpack
local ledger = KEYS[1]
local tag = sub(ledger, 1, -7) -- up to and with the colon before "ledger"
local request = cjson.decode(ARGV[1])

local function server_ms()
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
end

-- Accounts: read together, changed in memory, written together ------------------------------------------------

local accounts = {} -- NAME -> account, false where there is none
local changed = {} -- list of names
local now, state

local function refilled_in(a, tokens)
  if tokens <= 0 then return 0 end
  local periods, rest = floor(tokens / a.tokens), tokens % a.tokens
  return min(periods * a.period + ceil((rest * a.period - a.carry) / a.tokens), MAX_AMOUNT)
end

-- When the last instant of a slice is a whole length ago.
local function leaves(a, number) return (number + 1) * a.slice + a.length end

local function current_slice(a)
  local number, last = floor(now / a.slice), a.slices[#a.slices]
  if last and last[1] == number then return last end
  local slice = {number, 0, 0}
  a.slices[#a.slices + 1] = slice
  return slice
end

local function key_of(name) return sub(name, 1, find(name, '\31', 1, true) - 1) end

local function load_bucket(packed, tokens, period)
  if not packed then
    return {kind = 'b', fresh = true, limit = 0, keep = 0, tokens = tokens, period = period, missing = 0, carry = 0,
            updated = now, held = 0, returned = 0, changed = false}
  end
  local limit, keep, rate, per, missing, carry, updated, held, returned = unpack_doubles('>ddddddddd', packed)
  local elapsed = now - updated
  if elapsed > 0 then
    updated = now
    if missing > 0 then
      local part = (elapsed % per) * rate + carry
      missing = missing - floor(elapsed / per) * rate - floor(part / per)
      carry = part % per
      if missing <= 0 then missing, carry = 0, 0 end
    end
  end
  return {kind = 'b', fresh = false, limit = limit, keep = keep, tokens = rate, period = per, missing = missing,
          carry = carry, updated = updated, held = held, returned = returned, changed = false}
end

local function load_rolling(packed, length, slices)
  local a = {kind = 'r', fresh = not packed, limit = 0, keep = 0, length = length, slice = ceil(length / slices),
             slices = {}, total = 0, changed = false}
  if packed then
    a.limit, a.keep = unpack_doubles('>dd', packed)
    local n = 0
    for from = 17, #packed, 24 do
      local number, used, held = unpack_doubles('>ddd', packed, from)
      if leaves(a, number) > now then
        n = n + 1
        a.slices[n] = {number, used, held}
        a.total = a.total + used + held
      end
    end
  end
  return a
end

-- Return the account of a name, as packed or new. first, second: numbers of the window, nil to parse them from
-- the name. Time has passed for it: buckets are refilled, old slices are gone. Tables are made whole, because to
-- grow one costs more than to fill it.
local function load(name, packed, first, second)
  local at = find(name, '\31', 1, true)
  local kind = sub(name, at + 1, at + 1)
  if kind == 'b' then return load_bucket(packed, first, second) end
  if kind == 'c' then
    local limit, keep, held = 0, 0, 0
    if packed then limit, keep, held = unpack_doubles('>ddd', packed) end
    return {kind = 'c', fresh = not packed, limit = limit, keep = keep, held = held, changed = false}
  end
  if not first then
    local one, two = string.match(name, '(%-?%d+)[:/](%-?%d+)$')
    first, second = tonumber(one), tonumber(two)
  end
  if kind == 'r' then return load_rolling(packed, first, second) end
  local limit, keep, used, held = 0, 0, 0, 0
  if packed then limit, keep, used, held = unpack_doubles('>dddd', packed) end
  return {kind = 'f', fresh = not packed, limit = limit, keep = keep, from = first, to = second, used = used,
          held = held, changed = false}
end

local function dump(a)
  if a.kind == 'b' then
    return pack('>ddddddddd', a.limit, a.keep, a.tokens, a.period, a.missing, a.carry, a.updated, a.held, a.returned)
  elseif a.kind == 'f' then
    return pack('>dddd', a.limit, a.keep, a.used, a.held)
  elseif a.kind == 'c' then
    return pack('>ddd', a.limit, a.keep, a.held)
  end
  local parts = {pack('>dd', a.limit, a.keep)}
  for i, slice in ipairs(a.slices) do parts[i + 1] = pack('>ddd', slice[1], slice[2], slice[3]) end
  return table.concat(parts)
end

local function taken(a)
  if a.kind == 'b' then return a.missing end
  if a.kind == 'f' then return a.used + a.held end
  return a.kind == 'r' and a.total or a.held
end

local function fits_in(a, amount, ceiling)
  if a.kind == 'b' then return refilled_in(a, a.missing + amount - ceiling) end
  if a.kind == 'c' then return CONCURRENT_RETRY_MS end
  if a.kind == 'f' then
    if now >= a.to then return NONE end
    return (now >= a.from and a.to or a.from) - now
  end
  local over = a.total + amount - ceiling
  for _, slice in ipairs(a.slices) do
    over = over - slice[2] - slice[3]
    if over <= 0 then return leaves(a, slice[1]) - now end
  end
  return 0
end

-- Reserve an amount; return where it was taken from, as settle reads it.
local function take(a, amount)
  if a.kind == 'r' then
    local slice = current_slice(a)
    slice[3] = slice[3] + amount
    a.total = a.total + amount
    return slice[1], 0, 0, 0
  end
  local held_before = a.held
  a.held = a.held + amount
  if a.kind ~= 'b' then return 0, 0, 0, 0 end
  a.missing = a.missing + amount
  return a.missing, now, held_before, a.returned
end

local function give_back(a, tokens)
  a.missing = a.missing - tokens
  a.returned = a.returned + tokens
  if a.missing == 0 then a.carry = 0 end
end

-- Replace what is held by what was used; held is 0 where nothing was, or not any more.
local function settle(a, entry, held, actual)
  if a.kind == 'r' then
    for _, slice in ipairs(a.slices) do
      if slice[1] == entry.mark then
        local there, booked = min(held, slice[3]), min(actual, held)
        slice[3] = slice[3] - there
        slice[2] = slice[2] + booked
        a.total = a.total + booked - there
      end
    end
    if actual > held then
      local slice = current_slice(a)
      slice[2] = slice[2] + actual - held
      a.total = a.total + actual - held
    end
    return
  end
  a.held = max(0, a.held - held)
  if a.kind == 'f' then
    a.used = a.used + actual
  elseif a.kind == 'b' then
    if actual >= held then
      a.missing = a.missing + actual - held
      return
    end
    local elapsed = max(0, now - entry.at)
    local inflow = floor(elapsed / a.period) * a.tokens + ceil((elapsed % a.period) * a.tokens / a.period)
    local room = entry.mark - inflow - min(entry.before, a.returned - entry.returned)
    give_back(a, max(0, min(held - actual, room, a.missing)))
  end
end

local function forget_used(a)
  if a.kind == 'b' then
    give_back(a, a.missing - min(a.missing, a.held))
  elseif a.kind == 'f' then
    a.used = 0
  elseif a.kind == 'r' then
    for _, slice in ipairs(a.slices) do
      a.total = a.total - slice[2]
      slice[2] = 0
    end
  end
end

-- Return used, reserved and in how many ms the limit resets.
local function amounts(a)
  if a.kind == 'b' then
    local reserved = min(a.held, a.missing)
    return a.missing - reserved, reserved, refilled_in(a, a.missing)
  end
  if a.kind == 'f' then return a.used, a.held, max(0, a.to - now) end
  if a.kind == 'c' then return 0, a.held, NONE end
  local held, resets = 0, 0
  for _, slice in ipairs(a.slices) do
    held = held + slice[3]
    if resets == 0 and slice[2] + slice[3] > 0 then resets = leaves(a, slice[1]) - now end
  end
  return a.total - held, held, resets
end

local function keep(name, a, needed_until)
  local useful = now
  if a.kind == 'b' then
    useful = now + refilled_in(a, a.missing)
  elseif a.kind == 'f' then
    useful = max(now, 2 * a.to - a.from)
  elseif a.kind == 'r' then
    useful = now + a.length + a.slice
  end
  a.keep = max(a.keep, max(useful, needed_until or now) + MARGIN_MS)
  if not a.changed then
    a.changed = true
    changed[#changed + 1] = name
  end
end

-- Read the accounts that entries or claims name, those that are not read yet.
local function read(entries)
  local names, missing, n = {}, {}, 0
  for _, entry in ipairs(entries) do
    if accounts[entry.name] == nil then
      accounts[entry.name] = false
      n = n + 1
      names[n], missing[n] = entry.name, entry
    end
  end
  if n == 0 then return end
  local packed = call('HMGET', ledger, unpack(names))
  for i, entry in ipairs(missing) do
    if packed[i] or entry.limit then
      local a = load(entry.name, packed[i], entry.first, entry.second)
      if a.fresh then a.limit = entry.limit end
      accounts[entry.name] = a
    end
  end
end

-- State of the namespace ---------------------------------------------------------------------------------------

-- raw, shift: the server's time at the last call, and what is added to it so that time never goes back.
-- last: the time of the call before this one. born: of the first. By them callers know that the server has lost what
-- was counted: all of it where it began anew, else what was counted after the last call it knows of.
-- due: no lease and no account needs a sweep before. grants: when the last top-up ends. ttl: last renewal.
local function begin(packed, born, righted)
  local raw = server_ms()
  state = {raw = raw, shift = 0, due = math.huge, grants = 0, ttl = -TTL_EVERY_MS}
  if packed then
    state.raw, state.shift, state.due, state.grants, state.ttl = unpack_doubles('>ddddd', packed)
    state.last = state.raw + state.shift
    state.shift = state.shift + max(0, state.raw - raw)
    state.raw = raw
  end
  now = raw + state.shift
  state.last, state.born = state.last or now, born and tonumber(born) or now
  if not born then call('HSET', ledger, 'born', format('%.0f', now)) end
  state.righted = righted and tonumber(righted) or 0
  state.was_due = state.due
end

local function finish()
  local fields = {'', pack('>ddddd', state.raw, state.shift, state.due, state.grants, state.ttl)}
  for _, name in ipairs(changed) do
    local a = accounts[name]
    if a.fresh then
      call('ZADD', tag .. 'index', format('%.0f', a.keep), name)
      state.due = min(state.due, a.keep)
    end
    fields[#fields + 1] = name
    fields[#fields + 1] = dump(a)
  end
  local renew = now - state.ttl >= TTL_EVERY_MS
  if renew then state.ttl = now end
  fields[2] = pack('>ddddd', state.raw, state.shift, state.due, state.grants, state.ttl)
  call('HSET', ledger, unpack(fields))
  if renew then
    -- A member that is never due keeps the set, and with it its time to live, when the others are gone.
    for _, name in ipairs({'due', 'index'}) do
      call('ZADD', tag .. name, '+inf', '')
      call('PEXPIRE', tag .. name, IDLE_TTL_MS)
    end
    call('PEXPIRE', ledger, IDLE_TTL_MS)
  end
end

local all_grants
local function read_grants()
  if all_grants then return all_grants end
  all_grants = {}
  if state.grants > now then
    local flat = call('HGETALL', tag .. 'grants')
    for i = 1, #flat, 2 do all_grants[flat[i]] = cmsgpack.unpack(flat[i + 1]) end
  end
  return all_grants
end

local function granted(key)
  if state.grants <= now then return 0 end
  local sum = 0
  for _, grant in ipairs(read_grants()[key] or {}) do
    if grant[2] > now then sum = sum + grant[1] end
  end
  return sum
end

-- Append limit, used, reserved, granted and resets of the accounts of entries to a list of numbers.
local function add_levels(numbers, entries)
  local n = #numbers
  for _, entry in ipairs(entries) do
    local a = accounts[entry.name]
    numbers[n + 1] = a.limit
    numbers[n + 2], numbers[n + 3], numbers[n + 5] = amounts(a)
    numbers[n + 4] = state.grants > now and granted(key_of(entry.name)) or 0
    n = n + 5
  end
end

local function pack_all(numbers) return pack('>' .. string.rep('d', #numbers), unpack(numbers)) end

local function names_of(entries)
  local names = {}
  for i, entry in ipairs(entries) do names[i] = entry.name end
  return table.concat(names, '\30')
end

-- Reservations -------------------------------------------------------------------------------------------------

local function write_reservation(id, r)
  local keep_ms = r.due - now
  if r.state ~= 'over' then
    call('ZADD', tag .. 'due', r.due, id)
    state.due = min(state.due, r.due)
    if r.state == 'open' then keep_ms = keep_ms + EXPIRED_KEEP_MS end
  end
  local flat = {r.state, r.due}
  for i, e in ipairs(r.entries) do
    flat[i + 2] = {e.name, e.limit, e.amount, e.first, e.second, e.mark, e.at, e.before, e.returned}
  end
  call('SET', tag .. 'r:' .. id, cmsgpack.pack(flat), 'PX', format('%.0f', max(1, keep_ms)))
end

local function reservation(id)
  local packed = call('GET', tag .. 'r:' .. id)
  if not packed then return nil end
  local flat = cmsgpack.unpack(packed)
  local r = {state = flat[1], due = flat[2], entries = {}}
  for i = 3, #flat do
    local e = flat[i]
    r.entries[i - 2] =
      {name = e[1], limit = e[2], amount = e[3], first = e[4], second = e[5], mark = e[6], at = e[7],
       before = e[8], returned = e[9]}
  end
  return r
end

local function forget_reservation(id)
  call('DEL', tag .. 'r:' .. id)
  call('ZREM', tag .. 'due', id)
  call('ZREM', tag .. 'expired', id)
end

local function expire(id, r)
  read(r.entries)
  for _, e in ipairs(r.entries) do
    local a = accounts[e.name]
    settle(a, e, e.amount, 0)
    keep(e.name, a)
  end
  r.state, r.due = 'expired', r.due + EXPIRED_KEEP_MS
  call('ZADD', tag .. 'expired', r.due, id)
  call('PEXPIRE', tag .. 'expired', 2 * EXPIRED_KEEP_MS)
  write_reservation(id, r)
  return r
end

-- Return a reservation, expired if its lease is over and no sweep has come by yet.
local function find_reservation(id)
  local r = reservation(id)
  if not r or r.due > now then return r end
  if r.state == 'open' then return expire(id, r) end
  forget_reservation(id)
end

-- Return the score of the first member of a sorted set.
local function first_due(name)
  local first = call('ZRANGE', tag .. name, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or math.huge
end

local function sweep(at_most)
  if state.due > now then return 0 end
  local expired = 0
  for _, id in ipairs(call('ZRANGEBYSCORE', tag .. 'due', '-inf', now, 'LIMIT', 0, at_most)) do
    local r = reservation(id)
    if r and r.state == 'open' then
      expire(id, r)
      expired = expired + 1
    else
      forget_reservation(id)
    end
  end
  for _, name in ipairs(call('ZRANGEBYSCORE', tag .. 'index', '-inf', now, 'LIMIT', 0, at_most)) do
    read({{name = name}})
    local a = accounts[name]
    if a and a.keep > now then
      call('ZADD', tag .. 'index', format('%.0f', a.keep), name)
    else
      call('HDEL', ledger, name)
      call('ZREM', tag .. 'index', name)
      accounts[name] = nil
    end
  end
  state.due = min(first_due('due'), first_due('index'))
  return expired
end

-- The calls of the port ----------------------------------------------------------------------------------------

-- Return the claims: name, limit, amount, numbers of the window, 1 if enforced plus 2 if of a calendar.
local function read_claims()
  local claims = {}
  for i, c in ipairs(request.claims) do
    claims[i] = {name = c[1], limit = c[2], amount = c[3], first = c[4], second = c[5],
                 enforced = c[6] % 2 == 1, calendar = c[6] >= 2, mark = 0, at = 0, before = 0, returned = 0}
  end
  return claims
end

-- A window of a calendar that the caller computed from another time: say so, and it computes again.
local function is_stale(claims)
  for _, c in ipairs(claims) do
    if c.calendar and not (c.first <= now and now < c.second) then return true end
  end
  return false
end

-- Take over the limits and rates of claims.
local function adopt(claims)
  for _, c in ipairs(claims) do
    local a = accounts[c.name]
    a.limit = c.limit
    if a.kind == 'b' and (a.tokens ~= c.first or a.period ~= c.second) then
      a.tokens, a.period, a.carry = c.first, c.second, 0
    end
  end
end

-- Return pairs of index and wait for the claims that do not fit.
local function denials_of(claims)
  local denials = {}
  for i, c in ipairs(claims) do
    local a, ceiling = accounts[c.name], c.limit
    if state.grants > now then ceiling = ceiling + granted(key_of(c.name)) end
    local outside = a.kind == 'f' and not (a.from <= now and now < a.to)
    if c.enforced and c.amount > 0 and (outside or taken(a) + c.amount > ceiling) then
      local wait = NONE
      local no_next_window = a.kind == 'f' and not c.calendar and now >= a.from
      if c.amount <= ceiling and not no_next_window then wait = fits_in(a, c.amount, ceiling) end
      denials[#denials + 1] = i - 1
      denials[#denials + 1] = wait
    end
  end
  return denials
end

local calls = {}

function calls.reserve()
  local claims = read_claims()
  if is_stale(claims) then return 'stale', {now} end
  sweep(SWEEP_PER_CALL)
  local known = find_reservation(request.id)
  if known and known.state == 'over' then return 'over', {now} end
  if known and known.state == 'open' then
    read(known.entries)
    local numbers = {now, known.due}
    add_levels(numbers, known.entries)
    return 'repeated', numbers, names_of(known.entries)
  end
  read(claims)
  adopt(claims)
  local denials = denials_of(claims)
  if #denials > 0 then
    local numbers = {now, 0}
    add_levels(numbers, claims)
    for _, number in ipairs(denials) do numbers[#numbers + 1] = number end
    return 'denied', numbers
  end
  local due = now + request.lease_ms
  for _, c in ipairs(claims) do
    local a = accounts[c.name]
    c.mark, c.at, c.before, c.returned = take(a, c.amount)
    keep(c.name, a, due)
  end
  if known then call('ZREM', tag .. 'expired', request.id) end
  write_reservation(request.id, {state = 'open', due = due, entries = claims})
  local numbers = {now, due}
  add_levels(numbers, claims)
  return 'reserved', numbers
end

function calls.renew()
  sweep(SWEEP_PER_CALL)
  local known = find_reservation(request.id)
  if not known or known.state ~= 'open' then return 'gone', {now} end
  known.due = now + request.lease_ms
  write_reservation(request.id, known)
  read(known.entries)
  for _, e in ipairs(known.entries) do keep(e.name, accounts[e.name], known.due) end
  return 'renewed', {now}
end

-- used: amounts by key; of a key that is missing the whole estimate or nothing.
local function settle_all(used, whole)
  local known = find_reservation(request.id)
  if not known then return 'unknown', {now} end
  if known.state == 'over' then return 'already', {now} end
  local is_open = known.state == 'open'
  read(known.entries)
  for _, e in ipairs(known.entries) do
    local a = accounts[e.name]
    settle(a, e, is_open and e.amount or 0, used[key_of(e.name)] or (whole and e.amount or 0))
    keep(e.name, a)
  end
  call('ZREM', tag .. 'due', request.id)
  if not is_open then call('ZREM', tag .. 'expired', request.id) end
  local keep_ms = is_open and SETTLED_KEEP_MS or BOOKED_KEEP_MS
  write_reservation(request.id, {state = 'over', due = now + keep_ms, entries = {}})
  local numbers = {now}
  add_levels(numbers, known.entries)
  return is_open and 'booked' or 'late', numbers, names_of(known.entries)
end

function calls.settle()
  sweep(SWEEP_PER_CALL)
  return settle_all(request.amounts, request.whole)
end

function calls.book()
  local claims = read_claims()
  sweep(SWEEP_PER_CALL)
  if find_reservation(request.id) then
    local used = {}
    for _, c in ipairs(claims) do used[key_of(c.name)] = c.amount end
    return settle_all(used, true)
  end
  if is_stale(claims) then return 'stale', {now} end
  read(claims)
  adopt(claims)
  for _, c in ipairs(claims) do
    settle(accounts[c.name], c, 0, c.amount)
    keep(c.name, accounts[c.name])
  end
  write_reservation(request.id, {state = 'over', due = now + BOOKED_KEEP_MS, entries = {}})
  local numbers = {now}
  add_levels(numbers, claims)
  return 'booked', numbers, names_of(claims)
end

-- request.names: accounts that a scan of the index has found. Return those that are still there.
local function named()
  local wanted, found = {}, {}
  for i, name in ipairs(request.names) do wanted[i] = {name = name} end
  read(wanted)
  for _, entry in ipairs(wanted) do
    if accounts[entry.name] then found[#found + 1] = entry end
  end
  return found
end

function calls.levels()
  local found, numbers = named(), {now}
  add_levels(numbers, found)
  return 'levels', numbers, names_of(found)
end

function calls.reset()
  for _, entry in ipairs(named()) do
    forget_used(accounts[entry.name])
    keep(entry.name, accounts[entry.name])
  end
  return 'reset', {now}
end

function calls.grant()
  sweep(SWEEP_PER_CALL)
  if request.until_ms <= now then return 'granted', {now} end
  local grants = {{request.amount, request.until_ms}}
  for _, grant in ipairs(read_grants()[request.key] or {}) do
    if grant[2] > now then grants[#grants + 1] = grant end
  end
  call('HSET', tag .. 'grants', request.key, cmsgpack.pack(grants))
  state.grants = max(state.grants, request.until_ms)
  call('PEXPIRE', tag .. 'grants', format('%.0f', state.grants - now + MARGIN_MS))
  return 'granted', {now}
end

function calls.sweep()
  local expired = sweep(request.at_most)
  for key, grants in pairs(read_grants()) do
    local latest = 0
    for _, grant in ipairs(grants) do latest = max(latest, grant[2]) end
    if latest <= now then call('HDEL', tag .. 'grants', key) end
  end
  return 'swept', {now, expired}
end

function calls.expired()
  sweep(SWEEP_PER_CALL)
  local found = {}
  for _, id in ipairs(call('ZRANGE', tag .. 'expired', 0, request.at_most - 1)) do
    local r = reservation(id)
    if r and r.state == 'expired' then
      local reserved = {}
      for i, e in ipairs(r.entries) do reserved[i] = e.amount end
      found[#found + 1] = {id, r.due - EXPIRED_KEEP_MS, names_of(r.entries), reserved}
    end
  end
  return 'expired', {now}, found
end

function calls.now() return 'now', {now} end

function calls.clocks() return 'clocks', {now, state.raw} end

-- The clock is set to the server's, and every instant moves with it: see righting.py, which says where to what was
-- counted in a window of a calendar goes: request.moves, account of the limit in the window -> the other window.
local function moved_slice(number, slice, by, to) return min(number + ceil(by / slice), floor(to / slice)) end

local function move_account(a, by, to)
  a.keep = a.keep + by
  if a.kind == 'b' then
    a.updated = a.updated + by
  elseif a.kind == 'f' then
    a.keep = max(a.keep, 2 * a.to - a.from + MARGIN_MS) -- it may be under way again
  elseif a.kind == 'r' then
    local slices = {}
    for _, slice in ipairs(a.slices) do
      local number, last = moved_slice(slice[1], a.slice, by, to), slices[#slices]
      if last and last[1] == number then
        last[2], last[3] = last[2] + slice[2], last[3] + slice[3]
      else
        slices[#slices + 1] = {number, slice[2], slice[3]}
      end
    end
    a.slices = slices
  end
end

local function limit_of(name)
  local id = string.match(key_of(name), '^[^/]*')
  return sub(id, 1, 1) == '~' and sub(id, 2) or id
end

-- Return all accounts, moved in time, and the new names of those that went to another window.
local function moved_accounts(by, to)
  local all, names, renamed = {}, {}, {}
  local flat = call('HGETALL', ledger)
  for i = 1, #flat, 2 do
    if find(flat[i], '\31', 1, true) then
      names[#names + 1] = flat[i]
      all[flat[i]] = load(flat[i], flat[i + 1])
      move_account(all[flat[i]], by, to)
    end
  end
  for _, name in ipairs(names) do
    local a, key = all[name], key_of(name)
    local other = a.kind == 'f' and request.moves[limit_of(name) .. sub(name, #key + 1)]
    if other then
      local target = key .. '\31f' .. format('%.0f:%.0f', other[1], other[2])
      local there = all[target] or load(target, false)
      there.limit, there.used, there.held = a.limit, there.used + a.used, there.held + a.held
      there.keep = max(there.keep, a.keep, max(to, 2 * there.to - there.from) + MARGIN_MS)
      all[target], all[name], renamed[name] = there, nil, target
      call('HDEL', ledger, name)
      call('ZREM', tag .. 'index', name)
    end
  end
  return all, renamed
end

local function move_reservation(id, by, to, renamed)
  local r = reservation(id)
  if not r then return end
  r.due = r.due + by
  for _, e in ipairs(r.entries) do
    local a = accounts[e.name]
    if renamed[e.name] then
      e.name = renamed[e.name]
      e.first, e.second = accounts[e.name].from, accounts[e.name].to
    elseif a and a.kind == 'b' then
      e.at = e.at + by
    elseif a and a.kind == 'r' then
      e.mark = moved_slice(e.mark, a.slice, by, to)
    end
  end
  write_reservation(id, r)
  if r.state == 'expired' then call('ZADD', tag .. 'expired', r.due, id) end
end

function calls.set_right()
  local by, to = state.raw - now, state.raw
  if by == 0 then return 'righted', {now} end
  local renamed
  accounts, renamed = moved_accounts(by, to)
  now, state.shift = to, 0
  for name, a in pairs(accounts) do
    call('HSET', ledger, name, dump(a))
    call('ZADD', tag .. 'index', format('%.0f', a.keep), name)
  end
  for _, id in ipairs(call('ZRANGE', tag .. 'due', 0, -1)) do move_reservation(id, by, to, renamed) end
  for key, grants in pairs(read_grants()) do
    for _, grant in ipairs(grants) do grant[2] = grant[2] + by end
    call('HSET', tag .. 'grants', key, cmsgpack.pack(grants))
  end
  state.due, state.grants, state.ttl = min(first_due('due'), first_due('index')), state.grants + by, state.ttl + by
  state.born, state.last, state.righted = state.born + by, now, state.righted + 1
  call('HSET', ledger, 'born', format('%.0f', state.born), 'righted', state.righted)
  return 'righted', {now}
end

-- The state and the claims' accounts are read with one command.
local wanted = {'', 'born', 'righted'}
for i, c in ipairs(request.claims or {}) do wanted[i + 3] = c[1] end
local packed = call('HMGET', ledger, unpack(wanted))
begin(packed[1], packed[2], packed[3])
for i, c in ipairs(request.claims or {}) do
  accounts[c[1]] = load(c[1], packed[i + 3], c[4], c[5])
  if accounts[c[1]].fresh then accounts[c[1]].limit = c[2] end
end
local outcome, numbers, more = calls[request.call]()
finish()
return {outcome, pack('>ddd', state.born, state.last, state.righted) .. pack_all(numbers), more}
