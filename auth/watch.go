package auth

import (
	"context"
	"crypto/sha256"
	"os"
	"syscall"
	"time"
)

// settleTime is how old a file's last change must be before an equal stat is
// trusted to mean equal content: timestamps are coarser than writes.
const settleTime = 3 * time.Second

// stamp is what stat tells of a file's content; the change time and the inode
// notice what a copied modification time hides.
type stamp struct {
	modified, changed syscall.Timespec
	size              int64
	inode, device     uint64
}

// watched is a file that is polled. It is not safe for concurrent use.
type watched struct {
	path    string
	limit   int64 // bytes
	seen    stamp
	recent  bool              // seen was taken within settleTime of a change
	applied [sha256.Size]byte // digest of the content last handed out
	pending *[sha256.Size]byte
}

// load reads the file now, for the first time.
func (w *watched) load() ([]byte, error) {
	content, err := w.read()
	if err != nil {
		return nil, err
	}
	w.applied = sha256.Sum256(content)
	return content, nil
}

// poll returns the content when it has changed and then stayed the same for two
// polls: a file caught in the middle of being written must not take effect, for
// half a list of revocations is a list that lets tokens back in. It returns nil,
// nil when there is nothing new.
func (w *watched) poll() ([]byte, error) {
	unsettled := w.recent || w.pending != nil
	before := w.seen
	if !unsettled {
		now, _, err := w.stat(nil)
		if err != nil || now == before {
			return nil, err
		}
	}
	content, err := w.read()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	switch {
	case sum == w.applied:
		w.pending = nil
	case w.pending != nil && *w.pending == sum:
		w.applied, w.pending = sum, nil
		return content, nil
	default:
		w.pending = &sum
	}
	return nil, nil
}

// follow polls until ctx ends and hands every new content to apply. What cannot be
// read or applied is given to failed, once until it changes.
func (w *watched) follow(ctx context.Context, every time.Duration, apply func(content []byte) error, failed func(text string)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		content, err := w.poll()
		if err == nil && content != nil {
			err = apply(content)
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != "" && text != last {
			failed(text)
		}
		last = text
	}
}

// read reads the file and notes its stamp, taken before the content so that a
// change in between is seen at the next poll.
func (w *watched) read() ([]byte, error) {
	f, err := os.Open(w.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	seen, changed, err := w.stat(f)
	if err != nil {
		return nil, err
	}
	content, err := readAtMost(f, w.limit)
	if err != nil {
		return nil, err
	}
	// A change time in the future (a clock that was set back) counts as recent.
	w.seen, w.recent = seen, time.Since(changed) < settleTime
	return content, nil
}

// stat returns the stamp and the change time of the open file, or of the path
// when f is nil.
func (w *watched) stat(f *os.File) (stamp, time.Time, error) {
	var info os.FileInfo
	var err error
	if f != nil {
		info, err = f.Stat()
	} else {
		info, err = os.Stat(w.path)
	}
	if err != nil {
		return stamp{}, time.Time{}, err
	}
	s := stamp{size: info.Size()}
	changed := info.ModTime()
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.modified, s.changed, s.inode, s.device = sys.Mtim, sys.Ctim, sys.Ino, sys.Dev
		changed = time.Unix(sys.Ctim.Unix())
	}
	return s, changed, nil
}
