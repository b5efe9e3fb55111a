-- wrk: the first page of one article under another address each time, so that no cache has it.
local article = os.getenv("ARTICLE")
local number = 0
request = function()
  number = number + 1
  return wrk.format("GET", "/api/v1/sites/default/comments?limit=25&article=" .. article .. "&n=" .. number)
end
