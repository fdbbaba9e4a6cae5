package session

import (
	"encoding/binary"
	"math/bits"
)

const (
	skimBlock  = 12 // bytes looked at together
	skimAhead  = 8  // bytes that must stand behind a block
	skimPrefix = 6  // bytes of a word that are compared; skimShort knows the shorter words
	skimMask   = 1<<skimBlock - 1
)

// Bits of skimClass, a block apart, so that the bits of a block's bytes add up to
// five masks in one word.
const (
	skimIdent  = 1 << (iota * skimBlock) // is of a word
	skimStop                             // begins what is no word, space or plain punctuation
	skimInside                           // is a stop unless a word is in front: digits
	skimFirst                            // is the first letter of a word that may matter
	skimSecond                           // is the second letter of one
)

// skimClass maps a byte to its bits.
var skimClass = makeSkimClass()

// skimWords tells by the hash of a word's first bytes whether it may matter in a
// body. Hardly any other word is taken for one.
var skimWords = makeSkimWords()

// makeSkimClass fills skimClass.
func makeSkimClass() (t [256]uint64) {
	for i := range t {
		if c := byte(i); isDigit(c) {
			t[i] = skimIdent | skimInside
		} else if isIdentStart(c) {
			t[i] = skimIdent
		}
		if i >= 0x80 {
			t[i] |= skimStop
		}
	}
	for _, c := range `'"$-/;&` {
		t[c] = skimStop
	}
	for _, w := range bodyWords() {
		t[w[0]] |= skimFirst
		t[w[0]&^0x20] |= skimFirst
		t[w[1]] |= skimSecond
		t[w[1]&^0x20] |= skimSecond
	}
	return t
}

// makeSkimWords fills skimWords with bodyWords.
func makeSkimWords() (t [64]uint64) {
	for _, w := range bodyWords() {
		var b [8]byte
		copy(b[:], w)
		h := skimHash(binary.LittleEndian.Uint64(b[:]))
		t[h>>6] |= 1 << (h & 63)
	}
	return t
}

// skimHash hashes the first skimPrefix of eight bytes to twelve bits, whatever
// the case of their letters.
func skimHash(b uint64) uint64 {
	const fold, prefix = 0x202020202020, 1<<(8*skimPrefix) - 1
	return (b&prefix | fold) * 0x9e3779b97f4a7c15 >> 52
}

// skimShort reports whether a word whose first bytes are b may be one that
// matters and is shorter than skimPrefix.
func skimShort(b uint64) bool {
	const into, treat = 'i' | 'n'<<8 | 't'<<16 | 'o'<<24, 't' | 'r'<<8 | 'e'<<16 | 'a'<<24
	b = b&(1<<32-1) | 0x20202020
	return b == into || b == treat
}

// skim passes over words, space and punctuation to which the guard does not
// listen, without a look at each, and returns where a token begins that needs
// one. It must be called between tokens while nothing is listened to.
func (j *Judge) skim(p []byte, from int) int {
	i, word := from, from
	var ident uint64 // of the byte in front
	for len(p)-i >= skimBlock+skimAhead {
		b := (*[skimBlock]byte)(p[i:])
		sum := skimClass[b[0]] | skimClass[b[1]]<<1 | skimClass[b[2]]<<2 | skimClass[b[3]]<<3 |
			skimClass[b[4]]<<4 | skimClass[b[5]]<<5 | skimClass[b[6]]<<6 | skimClass[b[7]]<<7 |
			skimClass[b[8]]<<8 | skimClass[b[9]]<<9 | skimClass[b[10]]<<10 | skimClass[b[11]]<<11
		words := sum & skimMask
		behind := words<<1 | ident
		starts := words &^ behind
		stops := (sum>>skimBlock | sum>>(2*skimBlock)&^behind) & skimMask
		if stops != 0 {
			starts &= stops&-stops - 1
		}
		if starts != 0 {
			word = i + bits.Len64(starts) - 1
		}
		second := sum>>(4*skimBlock+1) | 1<<(skimBlock-1)
		for s := starts & (sum >> (3 * skimBlock)) & second; s != 0; s &= s - 1 {
			at := i + bits.TrailingZeros64(s)
			b := binary.LittleEndian.Uint64(p[at:])
			h := skimHash(b)
			if skimWords[h>>6]>>(h&63)&1 != 0 || skimShort(b) {
				return j.skimmed(p, from, at)
			}
		}
		if stops != 0 {
			k := bits.TrailingZeros64(stops)
			i += k
			ident = behind >> k & 1
			break
		}
		i += skimBlock
		ident = behind >> skimBlock & 1
	}
	if ident != 0 {
		i = word // E'…' and its like are read from the letter on
	}
	return j.skimmed(p, from, i)
}

// skimmed sets what the token in front of p[to] was, and returns to.
func (j *Judge) skimmed(p []byte, from, to int) int {
	for i := to - 1; i >= from; i-- {
		if c := p[i]; !isSpace(c) {
			if j.prev = c; identCont[c] {
				j.prev = 'a'
			}
			break
		}
	}
	return to
}
