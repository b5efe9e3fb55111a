-- wrk: nine reads of lists for each write; of the writes half are comments, half approve one of those that were taken.
-- $WRITES=0 leaves the writes out. The server trusts this machine's word for addresses.
local articles = tonumber(os.getenv("ARTICLES") or "100")
local writes = tonumber(os.getenv("WRITES") or "0.1")
local run = tostring(os.time()) .. tostring(math.random(1, 1000000))
local text = string.rep("A comment of ordinary length, with some *emphasis* and a `word` of code. ", 5)
local sending = { ["Content-Type"] = "application/json" }
local deciding = { ["Authorization"] = "Bearer " .. (os.getenv("TOKEN") or "") }
local number, waiting, first, last = 0, {}, 1, 0
math.randomseed(os.time())

local function comment()
  number = number + 1
  sending["X-Forwarded-For"] = string.format("10.%d.%d.%d", number % 250, math.floor(number / 250) % 250, math.floor(number / 62500) % 250)
  local body = string.format(
    '{"article":"article-%d","name":"Reader %d","email":"reader-%d@example.org","body":"%s %s-%d"}',
    number % articles, number % 5000, number % 5000, text, run, number)
  return wrk.format("POST", "/api/v1/sites/default/comments", sending, body)
end

request = function()
  if math.random() >= writes then
    return wrk.format("GET", "/api/v1/sites/default/comments?limit=25&article=article-" .. math.random(0, articles - 1))
  end
  if first > last or math.random() < 0.5 then return comment() end
  local id = waiting[first]
  waiting[first], first = nil, first + 1
  return wrk.format("POST", "/api/v1/moderation/comments/" .. id .. "/approve", deciding)
end

response = function(status, _, body)
  if status == 202 then
    last = last + 1
    waiting[last] = body:match('"id":"([^"]+)"')
  end
end
