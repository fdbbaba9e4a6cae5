-- bad
CREATE FUNCTION how_many() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN (SELECT count(*) FROM projects); END $$;
-- good
CREATE FUNCTION how_many() RETURNS bigint LANGUAGE sql SECURITY DEFINER BEGIN ATOMIC SELECT count(*) FROM projects; END;
CREATE FUNCTION with_path() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$ BEGIN RETURN (SELECT count(*) FROM public.projects); END $$;
CREATE FUNCTION as_caller() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM public.projects); END $$;
-- works
SELECT how_many() = 1;
