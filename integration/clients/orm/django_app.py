"""Django as an application uses it; with MIGRATE=1 its migrations."""

import django
from django.conf import settings

from ordinary import DATABASE, HOST, MARKER, MIGRATE, OTHER, PASSWORD, PORT, SET, TENANT, USER, check, own, refused

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", SECRET_KEY="x",
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "HOST": HOST, "PORT": PORT, "NAME": DATABASE, "USER": USER,
                           "PASSWORD": PASSWORD, "CONN_MAX_AGE": 60, "OPTIONS": {"sslmode": "disable"}}})
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection, models, transaction  # noqa: E402
from django.db.models import Count, F, Q  # noqa: E402


class Account(models.Model):
    id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    email = models.TextField()
    role = models.TextField(default="user")

    class Meta:
        app_label, db_table, managed = "app", "users", False


class Invoice(models.Model):
    id = models.BigAutoField(primary_key=True)
    tenant_id = models.UUIDField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    memo = models.TextField()

    class Meta:
        app_label, db_table, managed = "app", "invoices", False


def migrate():
    call_command("migrate", verbosity=0)
    call_command("migrate", "auth", "zero", verbosity=0)
    call_command("migrate", "auth", verbosity=0)
    from django.contrib.auth.models import Group, User
    User.objects.create_user("ada", password="secret").groups.add(Group.objects.create(name="staff"))
    check(User.objects.filter(groups__name="staff").count() == 1, "the migrated tables")
    call_command("flush", interactive=False, verbosity=0)
    for app in ("sessions", "auth", "contenttypes"):
        call_command("migrate", app, "zero", verbosity=0)
    print("migrated")


def work():
    own(Account.objects.order_by("email").values_list("email", flat=True))
    print(Account.objects.aggregate(n=Count("id")), Account.objects.filter(Q(role="user") | Q(role="admin")).exists())
    print(len(list(Account.objects.order_by("email").iterator(chunk_size=3))))
    with transaction.atomic():
        made = Invoice.objects.bulk_create([Invoice(tenant_id=TENANT, amount=n, memo="new of " + MARKER) for n in range(20)])
        Invoice.objects.filter(memo="new of " + MARKER).update(amount=F("amount") + 1)
        try:
            with transaction.atomic():
                Invoice.objects.create(tenant_id=OTHER, amount=1, memo="forged")
        except DatabaseError as e:
            print(e)
        one = Invoice.objects.select_for_update().filter(memo="new of " + MARKER).order_by("-amount").first()
        one.memo = "it's $1 and %s"
        one.save()
        print(one.amount, Invoice.objects.filter(pk__in=[i.pk for i in made]).count())
        Invoice.objects.filter(pk__in=[i.pk for i in made]).delete()
    with connection.cursor() as c:
        c.execute(SET.format("%s"), [TENANT])
        check(c.fetchone()[0] == TENANT, "the own tenant")
        print(sorted(connection.introspection.table_names(c)), len(connection.introspection.get_table_description(c, "users")))
        connection.introspection.get_constraints(c, "projects")
        try:
            c.execute(SET.format("%s"), [OTHER])
            check(False, "the other tenant was set")
        except DatabaseError as e:
            refused(e)
    connection.close()
    own(Account.objects.values_list("email", flat=True))


migrate() if MIGRATE else work()
