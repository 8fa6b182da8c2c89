package corim

import (
	"encoding/hex"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/corim/comid"
)

// environment is what Evidence must state so that a triple speaks of it; nil: the
// triple does not say.
type environment struct {
	vendor, model, instance []byte
}

// read returns false where the triple is for another class than o selects.
func (e *environmentMap) read(step string, o *Options) (environment, bool, error) {
	var env environment
	if e.Class == nil && len(e.Instance) == 0 && len(e.Group) == 0 {
		return env, false, fail(ErrFormat, step, "the environment is empty")
	}
	if len(e.Group) > 0 {
		return env, false, fail(ErrUnsupported, step, "the environment has a group, which Evidence does not state")
	}
	mine, err := e.Class.selected(step, o)
	if err != nil || !mine {
		return env, false, err
	}
	if c := e.Class; c != nil {
		for _, field := range []struct {
			text *string
			into *[]byte
		}{{c.Vendor, &env.vendor}, {c.Model, &env.model}} {
			if field.text == nil {
				continue
			}
			if *field.text == "" {
				return env, false, fail(ErrFormat, step, "vendor or model is empty")
			}
			*field.into = []byte(*field.text)
		}
	}
	if len(e.Instance) > 0 {
		if env.instance, err = readInstance(step, e.Instance); err != nil {
			return env, false, err
		}
	}
	return env, true, nil
}

// selected compares the class identifier with the one that was asked for.
func (c *classMap) selected(step string, o *Options) (bool, error) {
	if c != nil && (len(c.Layer) > 0 || len(c.Index) > 0) {
		return false, fail(ErrUnsupported, step, "the class has a layer or an index, which Evidence does not state")
	}
	switch {
	case c == nil || len(c.ID) == 0:
		if o.ClassID != "" {
			return false, fail(ErrUnsupported, step, "it is for every class, and ClassID asks for one")
		}
		return true, nil
	case o.ClassID == "":
		return false, fail(ErrUnsupported, step, "it is for one class; say with ClassID which you mean")
	}
	var id comid.ClassID
	if err := decode(step, c.ID, &id); err != nil {
		return false, err
	}
	text := id.String()
	if t := id.Type(); t != comid.UUIDType && t != comid.OIDType {
		text = hex.EncodeToString(id.Bytes())
	}
	return o.ClassID == id.Type()+":"+text, nil
}

// readInstance returns the identifier as Evidence states it: the bytes of a UEID, of
// a UUID or of opaque bytes.
func readInstance(step string, raw cbor.RawMessage) ([]byte, error) {
	var instance comid.Instance
	if err := decode(step, raw, &instance); err != nil {
		return nil, err
	}
	switch t := instance.Type(); t {
	case "ueid", comid.UUIDType, comid.BytesType:
	default:
		return nil, fail(ErrUnsupported, step, fmt.Sprintf("the instance is a %s; Evidence has a UEID, UUID or bytes", t))
	}
	id := instance.Bytes()
	if len(id) == 0 {
		return nil, fail(ErrFormat, step, "the instance is empty")
	}
	return id, nil
}
