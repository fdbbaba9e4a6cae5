package auth

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// Bounds of the cache of verified tokens.
const (
	maxCachedTokens = 10_000
	maxCachedBytes  = 16 << 20 // of token text: what the cache holds grows with it
)

// tokenSum is the SHA-256 of a token's text: the cache holds no tokens.
type tokenSum [sha256.Size]byte

// sumOf is a token's key in the cache.
func sumOf(token string) tokenSum {
	var room [2 << 10]byte // on the stack, where nearly every token fits
	return sha256.Sum256(append(room[:0], token...))
}

// cache remembers verified tokens, oldest out first. Only successes are put in.
// Times and revocations are the caller's to check at every use.
type cache struct {
	mu      sync.Mutex
	entries map[tokenSum]*list.Element
	order   list.List // of cached, oldest at the front
	bytes   int
	tokens  int // the most entries to hold
}

// cached is one verified token.
type cached struct {
	sum        tokenSum
	size       int
	generation uint64 // of the keyring that verified it
	claims     *claims
}

// newCache returns an empty cache of at most tokens entries.
func newCache(tokens int) *cache {
	return &cache{entries: make(map[tokenSum]*list.Element), tokens: tokens}
}

// get returns the claims of a token that the keyring of this generation
// verified, or nil. An entry of another generation is dropped.
func (c *cache) get(sum tokenSum, generation uint64) *claims {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[sum]
	if !ok {
		return nil
	}
	entry := element.Value.(*cached)
	if entry.generation != generation {
		c.remove(element)
		return nil
	}
	return entry.claims
}

// put remembers a verified token of size bytes, dropping the oldest ones when
// the cache is full.
func (c *cache) put(sum tokenSum, size int, generation uint64, verified *claims) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, ok := c.entries[sum]; ok {
		c.remove(element)
	}
	c.entries[sum] = c.order.PushBack(&cached{sum: sum, size: size, generation: generation, claims: verified})
	c.bytes += size
	for len(c.entries) > c.tokens || c.bytes > maxCachedBytes {
		c.remove(c.order.Front())
	}
}

// drop forgets a token.
func (c *cache) drop(sum tokenSum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, ok := c.entries[sum]; ok {
		c.remove(element)
	}
}

// clear forgets all tokens.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.order.Init()
	c.bytes = 0
}

// remove takes one element out; the caller holds the lock.
func (c *cache) remove(element *list.Element) {
	entry := c.order.Remove(element).(*cached)
	delete(c.entries, entry.sum)
	c.bytes -= entry.size
}
