package audit

import "slices"

// readDetails reads what belongs to relations and hangs it on them.
func (r *reader) readDetails() error {
	c := r.catalog
	policies, err := rowsOf[policy](r, partPolicies, policiesQuery)
	if err != nil {
		return err
	}
	for _, p := range policies {
		if on := c.relations[p.Relation]; on != nil {
			on.policies = append(on.policies, p)
		}
	}
	indexes, err := rowsOf[index](r, partIndexes, indexesQuery, r.columns)
	if err != nil {
		return err
	}
	for _, i := range indexes {
		if on := c.relations[i.Relation]; on != nil {
			on.indexes = append(on.indexes, i)
		}
	}
	keys, err := rowsOf[foreignKey](r, partForeignKeys, foreignKeysQuery)
	if err != nil {
		return err
	}
	for _, f := range keys {
		on, to := c.relations[f.Relation], c.relations[f.Target]
		if on != nil && to != nil {
			f.to = to
			on.foreign = append(on.foreign, f)
		}
	}
	uses, err := rowsOf[use](r, partViews, viewsQuery)
	if err != nil {
		return err
	}
	for _, u := range uses {
		view, of := c.relations[u.View], c.relations[u.Target]
		if view != nil && of != nil {
			u.of = of
			view.uses = append(view.uses, u)
		}
	}
	return r.readInheritance()
}

// readInheritance links partitions and inheritance children with their parents.
func (r *reader) readInheritance() error {
	type inherits struct {
		Child  uint32 `json:"child"`
		Parent uint32 `json:"parent"`
	}
	pairs, err := rowsOf[inherits](r, partInheritance, inheritanceQuery)
	for _, p := range pairs {
		child, parent := r.catalog.relations[p.Child], r.catalog.relations[p.Parent]
		if child != nil && parent != nil {
			child.parents = append(child.parents, parent)
			parent.children = append(parent.children, child)
		}
	}
	return err
}

// readRest reads what belongs to the database.
func (r *reader) readRest() error {
	c, reach := r.catalog, arrayLiteral(r.reach)
	for _, step := range []func() error{
		func() error { return into(r, &c.functions, partFunctions, functionsQuery, r.app) },
		func() error { return into(r, &c.reach, partReach, reachQuery, r.app, reach) },
		func() error { return into(r, &c.defaults, partDefaults, defaultsQuery, reach) },
		func() error { return into(r, &c.triggers, partTriggers, triggersQuery) },
		func() error { return into(r, &c.settings, partSettings, settingsQuery, r.app) },
		func() error { return into(r, &c.parameters, partParameters, parametersQuery, reach) },
		func() error { return into(r, &c.published, partPublications, publicationsQuery) },
		func() error { return into(r, &c.schemas, partSchemas, schemasQuery, r.app, reach) },
		func() error { return into(r, &c.languages, partLanguages, languagesQuery, r.app, reach) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	type count struct {
		N int64 `json:"n"`
	}
	objects, err := rowsOf[count](r, partLargeObjects, largeObjectsQuery)
	if len(objects) == 1 {
		c.objects = objects[0].N
	}
	return err
}

// readSeal reads whether a seal is installed, and what it says of itself.
func (r *reader) readSeal() error {
	type installed struct{ Versioned, Judged bool }
	rows, err := rowsOf[installed](r, partSeal, sealedQuery)
	if err != nil || len(rows) == 0 {
		return err
	}
	of := &r.catalog.seal
	of.installed = true
	if rows[0].Versioned {
		type version struct{ Version int }
		v, err := rowsOf[version](r, partSeal, "select tenantgate.version()")
		if err != nil {
			return err
		}
		for _, row := range v {
			of.version = row.Version
		}
	}
	if !rows[0].Judged {
		return nil
	}
	type right struct{ Excess string }
	rights, err := rowsOf[right](r, partSeal, "select e as excess from tenantgate.excess() e")
	for _, row := range rights {
		of.excess = append(of.excess, row.Excess)
	}
	return err
}

// link derives what the rules ask for again and again.
func (c *Catalog) link() {
	slices.SortFunc(c.order, func(a, b *relation) int { return compareNames(a.Name, b.Name) })
	for _, r := range c.order {
		if r.table() && r.Column != "" {
			c.tenantList = append(c.tenantList, r)
		}
	}
	c.context = c.contextNames()
	for _, r := range c.order {
		for _, f := range r.foreign {
			// What the tenant columns refer to is the table of the tenants.
			if r.Column == "" || len(f.Columns) != 1 || f.Columns[0] != r.Column {
				continue
			}
			if f.to.Column == "" || f.to.Column == f.References[0] && f.to.ownKey() {
				f.to.tenants, f.to.key, f.to.keyType = true, f.References[0], r.ColumnType
			}
		}
	}
}

// ownKey tells whether the tenant column alone is the primary key: a line is a
// tenant.
func (r *relation) ownKey() bool {
	return slices.ContainsFunc(r.indexes, func(i index) bool { return i.Primary && len(i.Columns) == 1 && i.Columns[0].Name == r.Column })
}
